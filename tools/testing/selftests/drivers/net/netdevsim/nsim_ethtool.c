// SPDX-License-Identifier: GPL-2.0
/*
 * The few things that the tests here want from ethtool:
 *
 *  nsim_ethtool IFNAME hds on|off		tcp-data-split, threshold 0
 *  nsim_ethtool IFNAME tso|lro on|off		offloads
 *  nsim_ethtool IFNAME stat NAME		print a statistic
 *  nsim_ethtool IFNAME rss QUEUES		all flows to the first QUEUES queues
 *  nsim_ethtool IFNAME flow PORT:QUEUE	TCP (IPv4) to PORT to this queue
 *
 * An ethtool that knows tcp-data-split is newer than what many systems have.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *ifname;

static void dev_ioctl(void *data)
{
	struct ifreq ifr = { .ifr_data = data };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &ifr))
		error(1, errno, "SIOCETHTOOL on %s", ifname);
	close(fd);
}

static int do_stat(const char *name)
{
	struct {
		struct ethtool_sset_info hdr;
		__u32 count;
	} info = {
		.hdr.cmd = ETHTOOL_GSSET_INFO,
		.hdr.sset_mask = 1ULL << ETH_SS_STATS,
	};
	struct ethtool_gstrings *names;
	struct ethtool_stats *stats;
	unsigned int i;

	dev_ioctl(&info);
	names = calloc(1, sizeof(*names) + info.count * ETH_GSTRING_LEN);
	stats = calloc(1, sizeof(*stats) + info.count * sizeof(__u64));
	if (!names || !stats)
		error(1, ENOMEM, "stat");
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_STATS;
	names->len = info.count;
	dev_ioctl(names);
	stats->cmd = ETHTOOL_GSTATS;
	stats->n_stats = info.count;
	dev_ioctl(stats);

	for (i = 0; i < info.count; i++) {
		if (strncmp((char *)names->data + i * ETH_GSTRING_LEN, name,
			    ETH_GSTRING_LEN))
			continue;
		printf("%llu\n", stats->data[i]);
		return 0;
	}
	error(1, 0, "%s has no statistic '%s'", ifname, name);
	return 1;
}

static int do_feature(const char *name, int on)
{
	struct ethtool_value val = {};

	if (!strcmp(name, "tso")) {
		val.cmd = ETHTOOL_STSO;
		val.data = on;
	} else {
		val.cmd = ETHTOOL_GFLAGS;
		dev_ioctl(&val);
		val.cmd = ETHTOOL_SFLAGS;
		val.data &= ~ETH_FLAG_LRO;
		val.data |= on ? ETH_FLAG_LRO : 0;
	}
	dev_ioctl(&val);
	return 0;
}

static int do_rss(unsigned int queues)
{
	struct ethtool_rxfh_indir query = { .cmd = ETHTOOL_GRXFHINDIR };
	struct ethtool_rxfh_indir *table;
	unsigned int i;

	dev_ioctl(&query);
	table = calloc(1, sizeof(*table) + query.size * sizeof(__u32));
	if (!table || !queues)
		error(1, queues ? ENOMEM : EINVAL, "rss");
	table->cmd = ETHTOOL_SRXFHINDIR;
	table->size = query.size;
	for (i = 0; i < query.size; i++)
		table->ring_index[i] = i % queues;
	dev_ioctl(table);
	return 0;
}

static int do_flow(const char *spec)
{
	struct ethtool_rxnfc nfc = {
		.cmd = ETHTOOL_SRXCLSRLINS,
		.fs.flow_type = TCP_V4_FLOW,
		.fs.location = RX_CLS_LOC_ANY,
	};
	unsigned int port, queue;

	if (sscanf(spec, "%u:%u", &port, &queue) != 2)
		error(2, 0, "'%s' is not PORT:QUEUE", spec);
	nfc.fs.h_u.tcp_ip4_spec.pdst = htons(port);
	nfc.fs.m_u.tcp_ip4_spec.pdst = 0xffff;
	nfc.fs.ring_cookie = queue;
	dev_ioctl(&nfc);
	return 0;
}

struct message {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[512];
};

static struct nlattr *put_attr(struct message *msg, int type, const void *data,
			       size_t len)
{
	struct nlattr *attr = (void *)msg + NLMSG_ALIGN(msg->nlh.nlmsg_len);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	if (data)
		memcpy((char *)attr + NLA_HDRLEN, data, len);
	msg->nlh.nlmsg_len = NLMSG_ALIGN(msg->nlh.nlmsg_len) +
			     NLA_ALIGN(attr->nla_len);
	return attr;
}

static void message_init(struct message *msg, int type, int cmd, int flags)
{
	memset(msg, 0, sizeof(*msg));
	msg->nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	msg->nlh.nlmsg_type = type;
	msg->nlh.nlmsg_flags = NLM_F_REQUEST | flags;
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
}

/* Sends @msg and leaves the first message of the answer there. */
static void transact(int fd, struct message *msg)
{
	struct nlmsgerr *err;

	if (send(fd, msg, msg->nlh.nlmsg_len, 0) < 0 ||
	    recv(fd, msg, sizeof(*msg), 0) < 0)
		error(1, errno, "netlink");
	if (msg->nlh.nlmsg_type != NLMSG_ERROR)
		return;
	err = NLMSG_DATA(&msg->nlh);
	if (err->error)
		error(1, -err->error, "%s", ifname);
}

static int family_id(int fd)
{
	struct message msg;
	struct nlattr *attr;
	char *end;

	message_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	put_attr(&msg, CTRL_ATTR_FAMILY_NAME, ETHTOOL_GENL_NAME,
		 sizeof(ETHTOOL_GENL_NAME));
	transact(fd, &msg);

	end = (char *)&msg + msg.nlh.nlmsg_len;
	for (attr = (void *)msg.attrs; (char *)attr + NLA_HDRLEN < end;
	     attr = (void *)attr + NLA_ALIGN(attr->nla_len))
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(__u16 *)((char *)attr + NLA_HDRLEN);
	error(1, 0, "no ethtool netlink family");
	return -1;
}

static int do_hds(int on)
{
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	__u32 ifindex = if_nametoindex(ifname), thresh = 0;
	__u8 split = on ? ETHTOOL_TCP_DATA_SPLIT_ENABLED :
			  ETHTOOL_TCP_DATA_SPLIT_DISABLED;
	struct message msg;
	struct nlattr *nest;
	int family;

	if (fd < 0)
		error(1, errno, "netlink socket");
	family = family_id(fd);

	message_init(&msg, family, ETHTOOL_MSG_RINGS_SET, NLM_F_ACK);
	nest = put_attr(&msg, ETHTOOL_A_RINGS_HEADER | NLA_F_NESTED, NULL, 0);
	put_attr(&msg, ETHTOOL_A_HEADER_DEV_INDEX, &ifindex, sizeof(ifindex));
	nest->nla_len += NLA_HDRLEN + sizeof(ifindex);
	put_attr(&msg, ETHTOOL_A_RINGS_TCP_DATA_SPLIT, &split, sizeof(split));
	put_attr(&msg, ETHTOOL_A_RINGS_HDS_THRESH, &thresh, sizeof(thresh));
	transact(fd, &msg);
	return 0;
}

int main(int argc, char **argv)
{
	int on;

	if (argc != 4)
		error(2, 0, "usage: see the top of nsim_ethtool.c");
	ifname = argv[1];
	on = !strcmp(argv[3], "on");

	if (!strcmp(argv[2], "stat"))
		return do_stat(argv[3]);
	if (!strcmp(argv[2], "rss"))
		return do_rss(atoi(argv[3]));
	if (!strcmp(argv[2], "flow"))
		return do_flow(argv[3]);
	if (!strcmp(argv[2], "hds"))
		return do_hds(on);
	return do_feature(argv[2], on);
}
