// SPDX-License-Identifier: GPL-2.0
/*
 * The netdev family of generic netlink, without ynl: what is tested may be newer
 * than the library. See netmem_lib.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <error.h>
#include <linux/genetlink.h>
#include <linux/netdev.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netmem_lib.h"

struct nlmsg {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[1024];
};

/* What to do with each message of an answer */
typedef void (*nl_cb)(struct nlattr *attrs, int len, void *arg);

static struct nlattr *nla_put(struct nlmsg *msg, int type, const void *data, int len)
{
	struct nlattr *nla = (void *)msg + NLMSG_ALIGN(msg->nlh.nlmsg_len);

	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((void *)nla + NLA_HDRLEN, data, len);
	msg->nlh.nlmsg_len = NLMSG_ALIGN(msg->nlh.nlmsg_len) + NLA_ALIGN(nla->nla_len);
	return nla;
}

static void nla_put_u32(struct nlmsg *msg, int type, __u32 val)
{
	nla_put(msg, type, &val, sizeof(val));
}

static void *nla_data(struct nlattr *nla)
{
	return (void *)nla + NLA_HDRLEN;
}

static int nla_len(struct nlattr *nla)
{
	return nla->nla_len - NLA_HDRLEN;
}

static struct nlattr *nla_find(void *data, int len, int type)
{
	struct nlattr *nla = data;

	while (len >= (int)NLA_HDRLEN && nla->nla_len >= NLA_HDRLEN) {
		if ((nla->nla_type & NLA_TYPE_MASK) == type)
			return nla;
		len -= NLA_ALIGN(nla->nla_len);
		nla = (void *)nla + NLA_ALIGN(nla->nla_len);
	}
	return NULL;
}

/* Numbers come with 2, 4 or 8 bytes. */
static __u64 nla_num(void *data, int len, int type)
{
	struct nlattr *nla = nla_find(data, len, type);
	__u64 val = 0;

	if (nla)
		memcpy(&val, nla_data(nla), nla_len(nla));
	return val;
}

static void msg_init(struct nlmsg *msg, int family, int cmd, int flags)
{
	memset(msg, 0, sizeof(*msg));
	msg->nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	msg->nlh.nlmsg_type = family;
	msg->nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
}

static struct nlattr *err_attr(struct nlmsghdr *nlh, int type)
{
	struct nlmsgerr *err = NLMSG_DATA(nlh);
	int skip = NLMSG_HDRLEN + sizeof(*err);

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += err->msg.nlmsg_len - NLMSG_HDRLEN;
	return nla_find((void *)nlh + skip, nlh->nlmsg_len - skip, type);
}

/* What the kernel says about an error in @msg */
static int nl_error(struct devmem *dm, struct nlmsg *msg, struct nlmsghdr *nlh)
{
	struct nlmsgerr *err = NLMSG_DATA(nlh);
	struct nlattr *nla, *bad;

	dm->msg[0] = 0;
	dm->bad = 0;
	dm->missing = 0;

	nla = err_attr(nlh, NLMSGERR_ATTR_MSG);
	if (nla)
		snprintf(dm->msg, sizeof(dm->msg), "%s", (char *)nla_data(nla));
	nla = err_attr(nlh, NLMSGERR_ATTR_OFFS);
	if (nla) {
		bad = (void *)msg + *(__u32 *)nla_data(nla);
		dm->bad = bad->nla_type & NLA_TYPE_MASK;
	}
	nla = err_attr(nlh, NLMSGERR_ATTR_MISS_TYPE);
	if (nla)
		dm->missing = *(__u32 *)nla_data(nla);
	return err->error;
}

/* Returns 0 or a negative errno. */
static int nl_ask(struct devmem *dm, struct nlmsg *msg, nl_cb cb, void *arg)
{
	char buf[32768];
	struct nlmsghdr *nlh;
	int len;

	if (send(dm->sock, msg, msg->nlh.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		len = recv(dm->sock, buf, sizeof(buf), 0);
		if (len < 0)
			return -errno;
		for (nlh = (void *)buf; NLMSG_OK(nlh, len); nlh = NLMSG_NEXT(nlh, len)) {
			if (nlh->nlmsg_type == NLMSG_ERROR)
				return nl_error(dm, msg, nlh);
			if (nlh->nlmsg_type == NLMSG_DONE)
				return *(int *)NLMSG_DATA(nlh);
			if (cb)
				cb(NLMSG_DATA(nlh) + GENL_HDRLEN,
				   nlh->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), arg);
		}
	}
}

static void get_family(struct nlattr *attrs, int len, void *arg)
{
	struct devmem *dm = arg;

	dm->family = nla_num(attrs, len, CTRL_ATTR_FAMILY_ID);
}

void netdev_nl_open(struct devmem *dm)
{
	struct nlmsg msg;
	int one = 1;

	memset(dm, 0, sizeof(*dm));
	dm->sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (dm->sock < 0)
		error(1, errno, "netlink");
	setsockopt(dm->sock, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(dm->sock, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));

	msg_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	nla_put(&msg, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY_NAME,
		sizeof(NETDEV_FAMILY_NAME));
	if (nl_ask(dm, &msg, get_family, dm))
		error(1, 0, "no netdev family");
}

static void get_id(struct nlattr *attrs, int len, void *arg)
{
	struct devmem *dm = arg;

	dm->id = nla_num(attrs, len, NETDEV_A_DMABUF_ID);
}

int netdev_nl_cmd(struct devmem *dm, int cmd, const struct nl_arg *args)
{
	struct nlattr *nest = NULL;
	struct nlmsg msg;

	msg_init(&msg, dm->family, cmd, 0);
	for (; args->type; args++) {
		struct nlattr *nla = nla_put(&msg, args->type, &args->val, args->len);

		if (args->type & NLA_F_NESTED)
			nest = nla;
		else if (args->nested)
			nest->nla_len = (void *)&msg + msg.nlh.nlmsg_len - (void *)nest;
	}
	return nl_ask(dm, &msg, get_id, dm);
}

static int do_bind(struct devmem *dm, int ifindex, int queue, int type, __u32 val)
{
	return netdev_nl_cmd(dm, NETDEV_CMD_BIND_RX, (struct nl_arg[]) {
		{ NETDEV_A_DMABUF_IFINDEX, 4, ifindex },
		{ type, 4, val },
		{ NETDEV_A_DMABUF_QUEUES | NLA_F_NESTED },
		{ NETDEV_A_QUEUE_ID, 4, queue, true },
		{ NETDEV_A_QUEUE_TYPE, 4, NETDEV_QUEUE_TYPE_RX, true },
		{}
	});
}

int devmem_bind_fd(struct devmem *dm, int ifindex, int queue, int dmabuf)
{
	return do_bind(dm, ifindex, queue, NETDEV_A_DMABUF_FD, dmabuf);
}

int devmem_bind(struct devmem *dm, int ifindex, int queue, int dmabuf)
{
	int ret;

	netdev_nl_open(dm);
	ret = devmem_bind_fd(dm, ifindex, queue, dmabuf);
	if (ret)
		devmem_unbind(dm);
	return ret;
}

int devmem_bind_id(struct devmem *dm, int ifindex, int queue, __u32 id)
{
	return do_bind(dm, ifindex, queue, NETDEV_A_DMABUF_ID, id);
}

int devmem_bind_tx(struct devmem *dm, int ifindex, int dmabuf)
{
	return netdev_nl_cmd(dm, NETDEV_CMD_BIND_TX, (struct nl_arg[]) {
		{ NETDEV_A_DMABUF_IFINDEX, 4, ifindex },
		{ NETDEV_A_DMABUF_FD, 4, dmabuf },
		{}
	});
}

void devmem_unbind(struct devmem *dm)
{
	close(dm->sock);
	dm->sock = -1;
}

int dmabuf_register(struct devmem *dm, int ifindex, int dmabuf)
{
	return netdev_nl_cmd(dm, NETDEV_CMD_DMABUF_REGISTER, (struct nl_arg[]) {
		{ NETDEV_A_DMABUF_IFINDEX, 4, ifindex },
		{ NETDEV_A_DMABUF_FD, 4, dmabuf },
		{}
	});
}

static void get_info(struct nlattr *attrs, int len, void *arg)
{
	struct nlattr *range = nla_find(attrs, len, NETDEV_A_DMABUF_RANGES);
	struct dmabuf_info *info = arg;

	*info = (struct dmabuf_info) {
		.id = nla_num(attrs, len, NETDEV_A_DMABUF_ID),
		.ifindex = nla_num(attrs, len, NETDEV_A_DMABUF_IFINDEX),
		.buf_size = nla_num(attrs, len, NETDEV_A_DMABUF_RX_PAGE_SIZE),
		.owner = nla_num(attrs, len, NETDEV_A_DMABUF_OWNER),
		.size = nla_num(attrs, len, NETDEV_A_DMABUF_SIZE),
		.peer2peer = nla_find(attrs, len, NETDEV_A_DMABUF_PEER2PEER),
		.revoked = nla_find(attrs, len, NETDEV_A_DMABUF_REVOKED),
	};
	if (!range)
		return;
	info->offset = nla_num(nla_data(range), nla_len(range),
			       NETDEV_A_DMABUF_RANGE_OFFSET);
	info->len = nla_num(nla_data(range), nla_len(range),
			    NETDEV_A_DMABUF_RANGE_SIZE);
}

int dmabuf_get(struct devmem *dm, __u32 id, struct dmabuf_info *info)
{
	struct nlmsg msg;

	msg_init(&msg, dm->family, NETDEV_CMD_DMABUF_GET, 0);
	nla_put_u32(&msg, NETDEV_A_DMABUF_ID, id);
	return nl_ask(dm, &msg, get_info, info);
}

struct list {
	struct dmabuf_info *info;
	int count, max;
};

static void add_to_list(struct nlattr *attrs, int len, void *arg)
{
	struct list *list = arg;

	if (list->count < list->max)
		get_info(attrs, len, &list->info[list->count]);
	list->count++;
}

int dmabuf_list(struct devmem *dm, int ifindex, struct dmabuf_info *info, int max)
{
	struct list list = { .info = info, .max = max };
	struct nlmsg msg;
	int ret;

	msg_init(&msg, dm->family, NETDEV_CMD_DMABUF_GET, NLM_F_DUMP);
	if (ifindex)
		nla_put_u32(&msg, NETDEV_A_DMABUF_IFINDEX, ifindex);
	ret = nl_ask(dm, &msg, add_to_list, &list);
	return ret ?: list.count;
}

int dmabuf_count(struct devmem *dm, int ifindex)
{
	return dmabuf_list(dm, ifindex, NULL, 0);
}

static void get_group(struct nlattr *attrs, int len, void *arg)
{
	struct nlattr *groups = nla_find(attrs, len, CTRL_ATTR_MCAST_GROUPS), *nla;
	int left;

	if (!groups)
		return;
	nla = nla_data(groups);
	left = nla_len(groups);
	while (left >= (int)NLA_HDRLEN) {
		struct nlattr *name = nla_find(nla_data(nla), nla_len(nla),
					       CTRL_ATTR_MCAST_GRP_NAME);

		if (name && !strcmp(nla_data(name), "mgmt"))
			*(int *)arg = nla_num(nla_data(nla), nla_len(nla),
					      CTRL_ATTR_MCAST_GRP_ID);
		left -= NLA_ALIGN(nla->nla_len);
		nla = (void *)nla + NLA_ALIGN(nla->nla_len);
	}
}

void dmabuf_subscribe(struct devmem *dm)
{
	struct nlmsg msg;
	int group = 0;

	netdev_nl_open(dm);
	msg_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	nla_put(&msg, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY_NAME,
		sizeof(NETDEV_FAMILY_NAME));
	if (nl_ask(dm, &msg, get_group, &group) || !group ||
	    setsockopt(dm->sock, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
		       sizeof(group)))
		error(1, errno, "multicast group");
}

int dmabuf_wait(struct devmem *dm, unsigned int ms, struct dmabuf_info *info)
{
	struct pollfd pfd = { .fd = dm->sock, .events = POLLIN };
	char buf[4096];
	struct nlmsghdr *nlh = (void *)buf;
	int cmd;

	while (poll(&pfd, 1, ms) > 0) {
		if (recv(dm->sock, buf, sizeof(buf), 0) < 0)
			error(1, errno, "netlink");
		cmd = ((struct genlmsghdr *)NLMSG_DATA(nlh))->cmd;
		if (cmd != NETDEV_CMD_DMABUF_CHANGE_NTF &&
		    cmd != NETDEV_CMD_DMABUF_DEL_NTF)
			continue;
		get_info(NLMSG_DATA(nlh) + GENL_HDRLEN,
			 nlh->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), info);
		return cmd;
	}
	return -ETIMEDOUT;
}
