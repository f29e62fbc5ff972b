/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_DMA_BUF_IMPORTER_H
#define _LINUX_DMA_BUF_IMPORTER_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/lockdep.h>
#include <linux/percpu-refcount.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/types.h>
#include <linux/wait.h>

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct dma_buf_importer;

/**
 * struct dma_buf_mapping - one generation of a dma-buf mapped for a device
 * @importer: the importer this mapping belongs to
 * @sgt: the DMA addresses; the CPU side of the scatterlist is not valid
 * @priv: the device's own format of @sgt, owned by &dma_buf_importer_ops
 *
 * A mapping never changes.  When the exporter moves the buffer, the mapping is
 * taken down and a new one is made on next use.
 */
struct dma_buf_mapping {
	struct dma_buf_importer	*importer;
	struct sg_table		*sgt;
	void			*priv;

	/* private: */
	/* DMA operations in flight, see dma_buf_importer_get() */
	struct percpu_ref	users;
	/* completes when the last of @users is gone */
	struct completion	drained;
};

/**
 * struct dma_buf_importer_ops - what the user of an importer provides
 */
struct dma_buf_importer_ops {
	/**
	 * @map: [optional] build the device's own format of a new mapping
	 *
	 * Called with the reservation lock of the dma-buf held, may sleep and
	 * allocate memory.  Returns 0 or a negative errno, which fails the
	 * mapping.
	 */
	int (*map)(struct dma_buf_mapping *mapping);

	/**
	 * @unmap: [optional] free what @map built
	 *
	 * Called with the reservation lock of the dma-buf held, when nothing
	 * uses the mapping any more.  Must not allocate memory and must not
	 * wait for anything but the reservation lock's own holders.
	 */
	void (*unmap)(struct dma_buf_mapping *mapping);

	/**
	 * @reap: [optional] complete operations that nobody else would
	 *
	 * Called again and again while an invalidation waits for operations in
	 * flight, by importers whose completions are found by polling.  The
	 * process that polls them may be the one that is waiting.
	 */
	void (*reap)(struct dma_buf_mapping *mapping);
};

/**
 * struct dma_buf_importer - a dma-buf attached to a device for a long time
 * @dmabuf: the dma-buf; the user holds a reference
 * @dev: the device that does the DMA
 * @dir: what the device may do to the memory
 *
 * Embedded in an object of the user, which is freed an RCU grace period after
 * dma_buf_importer_fini() if dma_buf_importer_get() is called without any
 * other protection.
 */
struct dma_buf_importer {
	struct dma_buf				*dmabuf;
	struct device				*dev;
	enum dma_data_direction			dir;

	/* private: */
	const struct dma_buf_importer_ops	*ops;
	struct dma_buf_attachment		*attach;
	struct dma_buf_mapping __rcu		*mapping;
	bool					dead;
	/* those whose turn it is before the next invalidation */
	atomic_t				holds;
	wait_queue_head_t			unheld;
};

int dma_buf_importer_init(struct dma_buf_importer *imp, struct dma_buf *dmabuf,
			  struct device *dev, enum dma_data_direction dir,
			  const struct dma_buf_importer_ops *ops);
void dma_buf_importer_fini(struct dma_buf_importer *imp);
int dma_buf_importer_map(struct dma_buf_importer *imp);
int dma_buf_importer_map_hold(struct dma_buf_importer *imp,
			      unsigned long timeout);
void dma_buf_importer_unhold(struct dma_buf_importer *imp);
struct sg_table *dma_buf_importer_map_sgt(struct dma_buf_attachment *attach,
					  enum dma_data_direction dir);

/**
 * dma_buf_importer_mapped - is there a mapping right now?
 * @imp: the importer
 *
 * A hint only: the mapping may be gone when this returns.
 *
 * Context: any; @imp must not go away, for instance through RCU.
 * Return: true if dma_buf_importer_get() would have succeeded.
 */
static inline bool dma_buf_importer_mapped(struct dma_buf_importer *imp)
{
	return rcu_access_pointer(imp->mapping);
}

/**
 * dma_buf_importer_get - start a DMA operation
 * @imp: the importer
 *
 * The mapping and the memory behind it stay where they are until the caller
 * returns the reference with dma_buf_mapping_put().  Between the two, there
 * must be nothing that the owner of the dma-buf could hold up: see
 * "DOC: dma-buf importer".
 *
 * Context: any but NMI; @imp must not go away, for instance through RCU.
 * Return: the current mapping, or NULL if there is none; call
 * dma_buf_importer_map() from a context that may sleep and try again.
 */
static inline struct dma_buf_mapping *
dma_buf_importer_get(struct dma_buf_importer *imp)
{
	struct dma_buf_mapping *mapping;

	rcu_read_lock();
	mapping = rcu_dereference(imp->mapping);
	if (mapping && !percpu_ref_tryget_live_rcu(&mapping->users))
		mapping = NULL;
	rcu_read_unlock();
	return mapping;
}

/**
 * dma_buf_mapping_put - a DMA operation is done
 * @mapping: what dma_buf_importer_get() returned
 *
 * Context: any but NMI.
 */
static inline void dma_buf_mapping_put(struct dma_buf_mapping *mapping)
{
	percpu_ref_put(&mapping->users);
}

#if defined(CONFIG_LOCKDEP) && defined(CONFIG_DMA_BUF_IMPORTER)
extern struct lockdep_map dma_buf_importer_drain_map;

/*
 * Bracket code that an invalidation may be waiting for, so that lockdep knows
 * that it can't take what is held during the wait.
 */
static inline void dma_buf_importer_begin_completion(void)
{
	lock_map_acquire_read(&dma_buf_importer_drain_map);
}

static inline void dma_buf_importer_end_completion(void)
{
	lock_map_release(&dma_buf_importer_drain_map);
}
#else
static inline void dma_buf_importer_begin_completion(void)
{
}

static inline void dma_buf_importer_end_completion(void)
{
}
#endif

#endif /* _LINUX_DMA_BUF_IMPORTER_H */
