// SPDX-License-Identifier: GPL-2.0

/* The DMA engine of the simulated NIC.
 *
 * A real NIC puts a DMA address on the bus and what happens then is up to the
 * IOMMU. Here the CPU does the copying, but it starts from nothing else than
 * the DMA address that the driver was given, and takes the same way to the
 * memory: through the page tables of the DMA device's IOMMU domain if there is
 * one. What is not mapped there is a DMA fault, the same as on a real bus.
 *
 * Where this cheats:
 * - without an IOMMU every DMA address is a physical address, so the engine
 *   can't tell a stale address from a good one - nor could a real NIC. It
 *   refuses what is not memory.
 * - permissions in the IOMMU are not looked at, there is no API for it.
 */

#include <linux/dma-direct.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>

#include "netdevsim.h"

struct device *nsim_dma_dev(struct netdevsim *ns)
{
	struct nsim_bus_dev *nsim_bus_dev = ns->nsim_bus_dev;

	if (nsim_bus_dev->dma_pdev)
		return &nsim_bus_dev->dma_pdev->dev;
	return &nsim_bus_dev->dev;
}

/* Drivers have no business in dma-direct.h. Here it is part of the simulated
 * hardware: the wires between the NIC and the memory controller.
 */
static phys_addr_t nsim_dma_translate(struct device *dev, dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (addr > dma_get_mask(dev))
		return 0;
	if (domain)
		return iommu_iova_to_phys(domain, addr);
	return dma_to_phys(dev, addr);
}

/* The translation can change at each page of the IOMMU. */
static size_t nsim_dma_granule(struct device *dev)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && domain->pgsize_bitmap)
		return min(PAGE_SIZE, 1UL << __ffs(domain->pgsize_bitmap));
#endif
	return PAGE_SIZE;
}

/* Where the CPU finds ordinary memory, NULL if there is none. To be unmapped
 * with kunmap_local().
 */
static void *nsim_dma_kmap(phys_addr_t phys)
{
	struct page *page;
	void *vaddr;
	u8 probe;

	/* The first page holds no buffers, 0 means "not mapped" here */
	if (phys < PAGE_SIZE || !pfn_valid(PHYS_PFN(phys)))
		return NULL;
	page = pfn_to_page(PHYS_PFN(phys));
	if (is_device_private_page(page))
		return NULL;

	/* Not all that has a struct page is memory, or mapped */
	vaddr = kmap_local_page(page) + offset_in_page(phys);
	if (get_kernel_nofault(probe, (u8 *)vaddr)) {
		kunmap_local(vaddr);
		return NULL;
	}
	return vaddr;
}

/* A piece of memory behind a DMA address */
struct nsim_dma_piece {
	void *vaddr;
	size_t len;
	bool kmapped;
};

/* Find the first of @len bytes at @addr. False for a DMA fault. */
static bool nsim_dma_map(struct netdevsim *ns, dma_addr_t addr, size_t len,
			 struct nsim_dma_piece *piece)
{
	struct device *dev = nsim_dma_dev(ns);
	size_t granule = nsim_dma_granule(dev);
	phys_addr_t phys;

	phys = nsim_dma_translate(dev, addr);
	piece->len = min(len, granule - (addr & (granule - 1)));

	piece->vaddr = nsim_dma_kmap(phys);
	piece->kmapped = piece->vaddr;
	if (!piece->vaddr)
		piece->vaddr = nsim_dma_pci_vaddr(ns->nsim_bus_dev, phys,
						  piece->len);

	return piece->vaddr;
}

static void nsim_dma_unmap(struct nsim_dma_piece *piece)
{
	if (piece->kmapped)
		kunmap_local(piece->vaddr);
}

/**
 * nsim_dma_write_skb() - the simulated NIC writes a part of a packet to memory
 * @ns: the NIC
 * @addr: DMA address to write to
 * @skb: the packet as it came from the wire, all of it readable
 * @offset: where in the packet to start
 * @len: number of bytes
 *
 * Context: any, does not sleep.
 * Return: 0, or -EFAULT for a DMA fault: some or all of the bytes were not
 *	   written.
 */
int nsim_dma_write_skb(struct netdevsim *ns, dma_addr_t addr,
		       const struct sk_buff *skb, int offset, size_t len)
{
	struct nsim_dma_piece piece;
	int err;

	while (len) {
		if (!nsim_dma_map(ns, addr, len, &piece))
			return -EFAULT;
		err = skb_copy_bits(skb, offset, piece.vaddr, piece.len);
		nsim_dma_unmap(&piece);
		if (err)
			return err;

		addr += piece.len;
		offset += piece.len;
		len -= piece.len;
	}

	return 0;
}

/**
 * nsim_dma_read_skb() - the simulated NIC reads a part of a packet from memory
 * @ns: the NIC
 * @addr: DMA address to read from
 * @skb: the packet as it goes to the wire, all of it writable
 * @offset: where in the packet to start
 * @len: number of bytes
 *
 * Context: any, does not sleep.
 * Return: 0, or -EFAULT for a DMA fault: some or all of the bytes were not
 *	   read.
 */
int nsim_dma_read_skb(struct netdevsim *ns, dma_addr_t addr,
		      struct sk_buff *skb, int offset, size_t len)
{
	struct nsim_dma_piece piece;
	int err;

	while (len) {
		if (!nsim_dma_map(ns, addr, len, &piece))
			return -EFAULT;
		err = skb_store_bits(skb, offset, piece.vaddr, piece.len);
		nsim_dma_unmap(&piece);
		if (err)
			return err;

		addr += piece.len;
		offset += piece.len;
		len -= piece.len;
	}

	return 0;
}
