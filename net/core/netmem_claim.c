// SPDX-License-Identifier: GPL-2.0

/* Who receives into which part of a dma-buf.
 *
 * Two receive queues that write to the same memory destroy each other's data,
 * and neither can notice. The memory belongs to nobody's network namespace,
 * device or ring, so neither do the claims: there is one table for all.
 */

#include <linux/dma-buf.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/netlink.h>
#include <net/netmem_dmabuf.h>

#define NETMEM_CLAIM_HASH_BITS	6

static DEFINE_HASHTABLE(netmem_claims, NETMEM_CLAIM_HASH_BITS);

/* Protects @netmem_claims. Nothing is taken inside. */
static DEFINE_MUTEX(netmem_claim_lock);

static void netmem_claim_conflict(const struct netmem_claim *other,
				  struct netlink_ext_ack *extack)
{
	switch (other->owner) {
	case NETMEM_OWNER_DEVMEM:
		NL_SET_ERR_MSG(extack,
			       "part of the dma-buf is in use by devmem TCP");
		break;
	case NETMEM_OWNER_IO_URING:
		NL_SET_ERR_MSG(extack,
			       "part of the dma-buf is in use by io_uring");
		break;
	}
}

/**
 * netmem_claim_get() - become the only one who receives into a part of a dma-buf
 * @claim: the claim, zeroed or given back
 * @dmabuf: the dma-buf; the caller keeps a reference
 * @start: first byte, page-aligned
 * @size: number of bytes, whole pages
 * @owner: what kind of owner the caller is
 * @extack: told who is in the way, may be NULL
 *
 * Context: may sleep.
 * Return: 0; -EINVAL if it is not a page-aligned part of the dma-buf; -EBUSY if
 *	   it overlaps what somebody else has claimed.
 */
int netmem_claim_get(struct netmem_claim *claim, struct dma_buf *dmabuf,
		     u64 start, u64 size, enum netmem_owner owner,
		     struct netlink_ext_ack *extack)
{
	struct netmem_claim *other;
	int err = 0;
	u64 end;

	if (!size || !PAGE_ALIGNED(start | size)) {
		NL_SET_ERR_MSG(extack, "part of the dma-buf is not page-aligned");
		return -EINVAL;
	}
	if (check_add_overflow(start, size, &end) ||
	    end > PAGE_ALIGN(dmabuf->size)) {
		NL_SET_ERR_MSG(extack, "part reaches beyond the dma-buf");
		return -EINVAL;
	}

	mutex_lock(&netmem_claim_lock);
	hash_for_each_possible(netmem_claims, other, node,
			       (unsigned long)dmabuf) {
		if (other->dmabuf == dmabuf &&
		    other->start < end && start < other->end) {
			netmem_claim_conflict(other, extack);
			err = -EBUSY;
			break;
		}
	}
	if (!err) {
		claim->dmabuf = dmabuf;
		claim->start = start;
		claim->end = end;
		claim->owner = owner;
		hash_add(netmem_claims, &claim->node, (unsigned long)dmabuf);
	}
	mutex_unlock(&netmem_claim_lock);

	return err;
}

/**
 * netmem_claim_put() - give up a claim
 * @claim: the claim; nothing happens if there is none
 *
 * All net_iovs of the part must be back: whoever has one reads data that the
 * next owner's NIC would overwrite.
 *
 * Context: may sleep.
 */
void netmem_claim_put(struct netmem_claim *claim)
{
	if (!claim->dmabuf)
		return;

	mutex_lock(&netmem_claim_lock);
	hash_del(&claim->node);
	mutex_unlock(&netmem_claim_lock);
	claim->dmabuf = NULL;
}
