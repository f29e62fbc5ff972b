# SPDX-License-Identifier: GPL-2.0
# `make` prints the commands.  The work is done by the scripts in kit/; each of
# them has --help.
MAKEFLAGS += --no-print-directory
.PHONY: help demo test torture bench shell kernel tree series export check check-prefix deps

help:
	@echo 'make demo          TCP into a dma-buf, and from there to NVMe: build, boot, show'
	@echo 'make test          checks and tests of the series, on the debug kernel'
	@echo 'make torture       the long tests, and whether they find planted bugs (hours)'
	@echo 'make bench         what an I/O costs, in instructions: table, CSV, chart'
	@echo 'make shell         an interactive guest with the plain kernel'
	@echo 'make kernel        build the plain kernel and the programs'
	@echo 'make tree          build/linux: a git tree with the series applied, to work in'
	@echo 'make export        write series/ and the new files back from build/linux'
	@echo 'make series        complete mails in build/series, for git am and git send-email'
	@echo 'make check         check the series: round trip, checkpatch, kernel-doc, sparse, ...'
	@echo 'make check-prefix  build every prefix of the series (long)'
	@echo 'make deps          install what the kit needs'

deps:
	@kit/deps

demo: deps
	@kit/demo

test: deps
	@kit/test

torture: deps
	@kit/torture

bench: deps
	@kit/bench

shell: kernel
	@kit/vm

kernel: deps
	@kit/build --user

tree: deps
	@kit/tree

export:
	@kit/export

series: deps
	@kit/series

check: deps
	@kit/check

check-prefix: deps
	@kit/check-prefix
