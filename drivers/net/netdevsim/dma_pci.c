// SPDX-License-Identifier: GPL-2.0

/* A PCI function of the machine as DMA device.
 *
 * The netdevsim is then where that function is: behind its IOMMU, and at its
 * place in the PCI topology, which is what decides whether memory of other
 * functions can be reached peer to peer. Of the function itself nothing is used,
 * any one does. It has to be bound to this driver:
 *
 *   echo netdevsim > /sys/bus/pci/devices/0000:03:00.0/driver_override
 *   echo 0000:03:00.0 > /sys/bus/pci/drivers_probe
 *   echo "1 1 4 0000:03:00.0" > /sys/bus/netdevsim/new_device
 *
 * Where this cheats:
 * - the CPU needs a mapping of the memory of other functions to do the copying.
 *   It has one of the prefetchable BARs, where memory is, not registers.
 * - a bus address is taken for the physical address of the same value, as they
 *   are without an offset in the host bridge.
 */

#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include "netdevsim.h"

/* Memory of a function that the CPU can get at. Stays until the netdevsim is
 * gone, like the window of a host bridge: if another function gets the
 * addresses it is this that is behind them.
 */
struct nsim_dma_bar {
	struct list_head list;
	phys_addr_t start;
	phys_addr_t end;	/* the last byte */
	void *vaddr;
};

/* Protects the lists of BARs against other writers */
static DEFINE_MUTEX(nsim_dma_bar_lock);

static int nsim_dma_pci_probe(struct pci_dev *pdev,
			      const struct pci_device_id *id)
{
	int err;

	err = pcim_enable_device(pdev);
	if (err)
		return err;

	pci_set_master(pdev);
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

/* The driver core unbinds the netdevsims first, they are consumers */
static void nsim_dma_pci_remove(struct pci_dev *pdev)
{
	pci_clear_master(pdev);
}

/* By driver_override only */
static const struct pci_device_id nsim_dma_pci_ids[] = {
	{}
};

static struct pci_driver nsim_dma_pci_driver = {
	.name		= DRV_NAME,
	.id_table	= nsim_dma_pci_ids,
	.probe		= nsim_dma_pci_probe,
	.remove		= nsim_dma_pci_remove,
};

/**
 * nsim_dma_pci_get() - use a PCI function as DMA device
 * @nsim_bus_dev: the new device, not registered yet
 * @name: address of the function, "0000:03:00.0"
 *
 * Context: process context.
 * Return: 0, -EINVAL if @name is not an address, or -ENODEV if there is no such
 *	   function, or not bound to this driver.
 */
int nsim_dma_pci_get(struct nsim_bus_dev *nsim_bus_dev, const char *name)
{
	unsigned int domain, bus, slot, func;
	struct pci_dev *pdev;
	int len = 0;
	bool ours;

	if (sscanf(name, "%x:%x:%x.%x%n", &domain, &bus, &slot, &func,
		   &len) < 4 || name[len] || domain > INT_MAX || bus > 0xff ||
	    slot > 0x1f || func > 7)
		return -EINVAL;

	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, func));
	if (!pdev)
		return -ENODEV;

	device_lock(&pdev->dev);
	ours = pdev->dev.driver == &nsim_dma_pci_driver.driver;
	device_unlock(&pdev->dev);
	if (!ours) {
		pci_err(pdev, "bind it to %s before it is used as DMA device\n",
			DRV_NAME);
		pci_dev_put(pdev);
		return -ENODEV;
	}

	nsim_bus_dev->dma_pdev = pdev;
	return 0;
}

/**
 * nsim_dma_pci_link() - don't outlive the DMA device
 * @nsim_bus_dev: the device, being probed
 *
 * When the function goes away, or is unbound, the netdevsim is unbound before.
 *
 * Context: process context, probe of @nsim_bus_dev.
 * Return: 0 or -ENODEV, it is not bound to its driver any more.
 */
int nsim_dma_pci_link(struct nsim_bus_dev *nsim_bus_dev)
{
	struct pci_dev *pdev = nsim_bus_dev->dma_pdev;
	struct device_link *link;

	if (!pdev)
		return 0;

	link = device_link_add(&nsim_bus_dev->dev, &pdev->dev,
			       DL_FLAG_AUTOREMOVE_CONSUMER);
	if (!link || READ_ONCE(link->status) != DL_STATE_CONSUMER_PROBE)
		return -ENODEV;
	return 0;
}

/* Called when nobody can use the device any more. */
void nsim_dma_pci_put(struct nsim_bus_dev *nsim_bus_dev)
{
	struct nsim_dma_bar *bar, *tmp;

	list_for_each_entry_safe(bar, tmp, &nsim_bus_dev->dma_bars, list) {
		memunmap(bar->vaddr);
		kfree(bar);
	}
	pci_dev_put(nsim_bus_dev->dma_pdev);
}

static bool nsim_dma_bar_known(struct nsim_bus_dev *nsim_bus_dev,
			       const struct resource *res)
{
	struct nsim_dma_bar *bar;

	list_for_each_entry(bar, &nsim_bus_dev->dma_bars, list)
		if (bar->start <= res->end && res->start <= bar->end)
			return true;

	return false;
}

static void nsim_dma_bar_map(struct nsim_bus_dev *nsim_bus_dev,
			     const struct resource *res)
{
	struct nsim_dma_bar *bar;

	if (!(resource_type(res) & IORESOURCE_MEM) ||
	    !(res->flags & IORESOURCE_PREFETCH) ||
	    (res->flags & (IORESOURCE_UNSET | IORESOURCE_DISABLED)) ||
	    !res->parent || nsim_dma_bar_known(nsim_bus_dev, res))
		return;

	bar = kzalloc_obj(*bar);
	if (!bar)
		return;
	bar->start = res->start;
	bar->end = res->end;
	bar->vaddr = memremap(res->start, resource_size(res), MEMREMAP_WC);
	if (!bar->vaddr) {
		kfree(bar);
		return;
	}
	list_add_rcu(&bar->list, &nsim_bus_dev->dma_bars);
}

/**
 * nsim_dma_pci_map_bars() - make memory of PCI functions accessible to the CPU
 * @nsim_bus_dev: the device whose engine may have to write there
 *
 * To be called when somebody is going to import memory. What can't be mapped
 * will be a DMA fault.
 *
 * Context: process context, may sleep.
 */
void nsim_dma_pci_map_bars(struct nsim_bus_dev *nsim_bus_dev)
{
	struct pci_dev *pdev = NULL;
	int i;

	if (!nsim_bus_dev->dma_pdev)
		return;

	mutex_lock(&nsim_dma_bar_lock);
	for_each_pci_dev(pdev)
		for (i = 0; i < PCI_STD_NUM_BARS; i++)
			nsim_dma_bar_map(nsim_bus_dev, &pdev->resource[i]);
	mutex_unlock(&nsim_dma_bar_lock);
}

/**
 * nsim_dma_pci_vaddr() - where the CPU finds memory of a PCI function
 * @nsim_bus_dev: the device
 * @phys: physical address
 * @len: number of bytes, up to the end of the page at most
 *
 * Context: any, does not sleep.
 * Return: the address, NULL if there is no memory of a PCI function.
 */
void *nsim_dma_pci_vaddr(struct nsim_bus_dev *nsim_bus_dev, phys_addr_t phys,
			 size_t len)
{
	struct nsim_dma_bar *bar;
	void *vaddr = NULL;

	rcu_read_lock();
	list_for_each_entry_rcu(bar, &nsim_bus_dev->dma_bars, list) {
		if (phys >= bar->start && phys + len - 1 <= bar->end) {
			vaddr = bar->vaddr + (phys - bar->start);
			break;
		}
	}
	rcu_read_unlock();

	return vaddr;
}

int nsim_dma_pci_init(void)
{
	return pci_register_driver(&nsim_dma_pci_driver);
}

void nsim_dma_pci_exit(void)
{
	pci_unregister_driver(&nsim_dma_pci_driver);
}
