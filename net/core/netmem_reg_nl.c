// SPDX-License-Identifier: GPL-2.0

/* What user space is told about the dma-bufs of memory providers */

#include <linux/netlink.h>
#include <linux/xarray.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/netmem_reg.h>

#include "netdev-genl-gen.h"
#include "netmem_reg_priv.h"

static int netmem_reg_fill(struct sk_buff *rsp, const struct netmem_reg *reg,
			   const struct genl_info *info)
{
	struct nlattr *nest;
	void *hdr;

	lockdep_assert_held(&netmem_reg_lock);

	hdr = genlmsg_iput(rsp, info);
	if (!hdr)
		return -EMSGSIZE;

	if (nla_put_u32(rsp, NETDEV_A_DMABUF_ID, reg->id) ||
	    nla_put_u32(rsp, NETDEV_A_DMABUF_IFINDEX, reg->ifindex) ||
	    nla_put_uint(rsp, NETDEV_A_DMABUF_SIZE,
			 netmem_dmabuf_size(reg->nd)) ||
	    nla_put_u32(rsp, NETDEV_A_DMABUF_RX_PAGE_SIZE,
			1U << reg->niov_shift) ||
	    nla_put_u32(rsp, NETDEV_A_DMABUF_OWNER, reg->owner))
		goto err_cancel;
	if (reg->peer2peer && nla_put_flag(rsp, NETDEV_A_DMABUF_PEER2PEER))
		goto err_cancel;
	if (netmem_dmabuf_revoked(reg->nd) &&
	    nla_put_flag(rsp, NETDEV_A_DMABUF_REVOKED))
		goto err_cancel;

	if (reg->range_size) {
		nest = nla_nest_start(rsp, NETDEV_A_DMABUF_RANGES);
		if (!nest ||
		    nla_put_uint(rsp, NETDEV_A_DMABUF_RANGE_OFFSET,
				 reg->range_offset) ||
		    nla_put_uint(rsp, NETDEV_A_DMABUF_RANGE_SIZE,
				 reg->range_size))
			goto err_cancel;
		nla_nest_end(rsp, nest);
	}

	genlmsg_end(rsp, hdr);
	return 0;

err_cancel:
	genlmsg_cancel(rsp, hdr);
	return -EMSGSIZE;
}

/* NULL if nobody is listening, or there is no memory. */
struct sk_buff *netmem_reg_ntf(const struct netmem_reg *reg, u32 cmd)
{
	struct genl_info info;
	struct sk_buff *ntf;

	if (!genl_has_listeners(&netdev_nl_family, reg->net,
				NETDEV_NLGRP_MGMT))
		return NULL;

	genl_info_init_ntf(&info, &netdev_nl_family, cmd);
	ntf = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!ntf)
		return NULL;
	if (netmem_reg_fill(ntf, reg, &info)) {
		nlmsg_free(ntf);
		return NULL;
	}
	return ntf;
}

void netmem_reg_send(struct net *net, struct sk_buff *ntf)
{
	if (ntf)
		genlmsg_multicast_netns(&netdev_nl_family, net, ntf, 0,
					NETDEV_NLGRP_MGMT, GFP_KERNEL);
}

int netdev_nl_dmabuf_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct netmem_reg *reg;
	struct sk_buff *rsp;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, NETDEV_A_DMABUF_ID))
		return -EINVAL;

	rsp = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!rsp)
		return -ENOMEM;

	mutex_lock(&netmem_reg_lock);
	reg = xa_load(&netmem_regs,
		      nla_get_u32(info->attrs[NETDEV_A_DMABUF_ID]));
	if (reg && reg->known && net_eq(reg->net, genl_info_net(info))) {
		err = netmem_reg_fill(rsp, reg, info);
	} else {
		NL_SET_ERR_MSG_ATTR(info->extack,
				    info->attrs[NETDEV_A_DMABUF_ID],
				    "no such dma-buf");
		err = -ENOENT;
	}
	mutex_unlock(&netmem_reg_lock);
	if (err)
		goto err_free_msg;

	return genlmsg_reply(rsp, info);

err_free_msg:
	nlmsg_free(rsp);
	return err;
}

int netdev_nl_dmabuf_get_dumpit(struct sk_buff *skb,
				struct netlink_callback *cb)
{
	const struct genl_info *info = genl_info_dump(cb);
	unsigned long *id = (unsigned long *)cb->ctx;
	struct netmem_reg *reg;
	u32 ifindex = 0;
	int err = 0;

	NL_ASSERT_CTX_FITS(unsigned long);

	if (info->attrs[NETDEV_A_DMABUF_IFINDEX])
		ifindex = nla_get_u32(info->attrs[NETDEV_A_DMABUF_IFINDEX]);

	mutex_lock(&netmem_reg_lock);
	/* After -EMSGSIZE it goes on where it was. */
	xa_for_each_start(&netmem_regs, *id, reg, *id) {
		if (!reg->known || !net_eq(reg->net, genl_info_net(info)) ||
		    (ifindex && ifindex != reg->ifindex))
			continue;
		err = netmem_reg_fill(skb, reg, info);
		if (err)
			break;
	}
	mutex_unlock(&netmem_reg_lock);

	return err;
}
