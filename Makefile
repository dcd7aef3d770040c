# SPDX-License-Identifier: GPL-2.0-or-later
# The whole build in one file, not recursive. `make help` prints the lines that begin with ##.
##
## make                  libraries and programs, in build/plain
## make demo             install what is missing, build, check a real damaged cache
## make check            install what is missing, build, run the tests (no root needed for them)
## make check-sanitize   the same under AddressSanitizer and UndefinedBehaviorSanitizer
## make check-crash      every state a power cut could leave, from a log of real writes
## make check-repairs    every golden case is repaired, and what comes of it
## make check-repair-cuts  power cuts in the repair of every image and case, and in bringing data home
## make check-found      lost roots, nodes, prios and uuid tables, found again by searching
## make check-image      metadata images of all fixtures and cases
## make check-map        bucket maps of all fixtures and cases, and of 33 million buckets
## make check-report     reports of fixtures and cases, their page in Chromium, 40 million extents
## make check-faults     everything that can fail fails, at every call of every command
## make check-fields     every field of every structure of real caches changed, one at a time;
##                       check-fields-sanitize the same under both sanitizers
## make check-damage     every damage of a list done to real caches, repaired, compared sector by sector
## make check-mount      volumes mounted, of every fixture and of damaged sets (loop devices: root)
## make check-bad-input  every command over every case, and over a cache cut short anywhere
## make check-fuzz       the fuzz targets over made inputs, kept ones and changes of those
## make check-kernel     real kernels in QEMU register what we made, and damage as foretold
## make check-NAME       one ring: floors symbols man tools unit cases repairs-sample generated transcripts
##                       images image-sample map-sample super repair-super make bad-input-sample
##                       crash-sample repair-cuts-sample writeback damage-sample faults-sample
##                       fields-sample mount-sample files fuzz-sample install
## make fuzz             libFuzzer with clang, TIME=300 seconds a target, JOBS=1 at once,
##                       TARGETS="super jset ...", corpus in build/corpus
## make fuzz-merge       takes what that found into tests/fuzz/corpus
## make bench            times beside cache_check, reading alone, zstd; fails when a goal is missed;
##                       BENCH_MILLIONS="1 10 40" BENCH_EXTENT=4k
## make coverage         lines of the library that the fuzz inputs reach, by folder
## make lib, programs    only these
## make deps             install what is missing, nothing else
## make install          DESTDIR= PREFIX= SBINDIR= LIBDIR= INCLUDEDIR= MANDIR= COMPDIR= PKGCONFDIR=
## make uninstall        the same settings as for install
## make man              write bcache-problems.7 anew from the table of problems
## make format           clang-format all sources
## make clean            remove build/
##
## O=DIR        build there instead of in build/
## SAN=LIST     build with -fsanitize=LIST, in its own folder (address,undefined or thread)
## COV=1        build for gcov, in its own folder
## FUZZ=1       build for libFuzzer with clang, in its own folder
## WERROR=1     warnings are errors
## V=1          show the commands
## CC AR PKG_CONFIG INSTALL CPPFLAGS CFLAGS LDFLAGS LDLIBS   as everywhere; the flags come last
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

VERSION := 0.1.0
SOMAJOR := 0

# ---- settings that a builder or packager may give ---------------------------------------
O          ?= build
SAN        ?=
COV        ?=
FUZZ       ?=
WERROR     ?=
V          ?=
DESTDIR    ?=
PREFIX     ?= /usr/local
SBINDIR    ?= $(PREFIX)/sbin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
COMPDIR    ?= $(PREFIX)/share/bash-completion/completions
PKGCONFDIR ?= $(LIBDIR)/pkgconfig
PKG_CONFIG ?= pkg-config
INSTALL    ?= install
CFLAGS     ?= -O2 -g
# Unit tests spend their time in the library: to optimise them costs more than it saves. Whoever gives
# flags has them everywhere.
unit_o     := $(if $(filter fileundefined,$(origin CFLAGS)$(origin CPPFLAGS)),-O0)
ifeq ($(origin CC),default)
CC := $(if $(FUZZ),clang,gcc)
endif

# ---- every variant has its own objects --------------------------------------------------
comma   := ,
variant := $(or $(subst $(comma),-,$(SAN)),plain)$(if $(COV),-cov)$(if $(FUZZ),-fuzz)
B       := $(O)/$(variant)
q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-4s %s\n' $(1) $(@:$(B)/%=%);)

# ---- our flags; CPPFLAGS, CFLAGS, LDFLAGS and LDLIBS stay the user's and come after --------
# pkg-config is asked when a recipe first needs the answer, so that `make deps` can install it.
pkgs     := libisal uuid blkid jansson zlib libpng
once      = $(eval $(1) := $(shell $(2)))$($(1))
pkg_c     = $(call once,pkg_c,$(PKG_CONFIG) --cflags $(pkgs) 2>/dev/null)
pkg_l     = $(call once,pkg_l,$(PKG_CONFIG) --libs $(pkgs) 2>/dev/null)
# Of bcache-dump alone: the library does without.
dump_c    = $(call once,dump_c,$(PKG_CONFIG) --cflags fuse3 ext2fs 2>/dev/null)
dump_l    = $(call once,dump_l,$(PKG_CONFIG) --libs fuse3 ext2fs com_err 2>/dev/null)
unit_c    = $(call once,unit_c,$(PKG_CONFIG) --cflags criterion 2>/dev/null)
unit_l    = $(call once,unit_l,$(PKG_CONFIG) --libs criterion 2>/dev/null)
warnings := -Wall -Wextra -Wshadow -Wundef -Wvla -Wsign-compare -Wconversion \
            -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wcast-qual -Wformat=2 \
            -Wimplicit-fallthrough $(if $(WERROR),-Werror)
own_cpp   = -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DBCFMT_VERSION='"$(VERSION)"' \
            -Ilibformat/include -Ilibformat $(pkg_c)
own_c    := -std=gnu11 -fPIC -fvisibility=hidden -pthread $(warnings)
own_ld   := -pthread -Wl,--as-needed -Wl,-z,relro,-z,now
# Of test programs, where it is installed: it links them in half the time.
test_ld  := $(if $(shell command -v ld.gold 2>/dev/null),-fuse-ld=gold)
ifneq ($(SAN),)
own_c    += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
own_ld   += -fsanitize=$(SAN)
# A report must not look like an exit code of fsck(8).
export ASAN_OPTIONS ?= detect_leaks=1:exitcode=99
export UBSAN_OPTIONS ?= print_stacktrace=1:exitcode=99
endif
ifneq ($(COV),)
own_c    += --coverage
own_ld   += --coverage
endif
ifneq ($(FUZZ),)
own_c    += -fsanitize=fuzzer-no-link
endif
compile   = $(CC) $(own_cpp) $(CPPFLAGS) $(own_c) $(CFLAGS)
link      = $(CC) $(own_ld) $(CFLAGS) $(LDFLAGS)
libs      = $(pkg_l) $(LDLIBS)

# ---- what there is, floor by floor ------------------------------------------------------
lib_src :=
lib_src += $(wildcard libformat/base/*.c libformat/ondisk/*.c)   # 0 bytes, vectors; layouts
lib_src += $(wildcard libformat/codec/*.c)                       # 1 bytes to structs and back
lib_src += $(wildcard libformat/dev/*.c)                         # 2 devices
lib_src += $(wildcard libformat/read/*.c)                        # 3 structures from devices
lib_src += $(wildcard libformat/set/*.c libformat/write/*.c)     # 4 a whole set
lib_src += $(wildcard libformat/check/*.c libformat/make/*.c)    # 5 findings; formatting
lib_src += $(wildcard libformat/image/*.c)                       # 5 metadata images
lib_src += $(wildcard libformat/repair/*.c)                      # 6 plan, rehearse, commit
lib_src += $(wildcard libformat/render/*.c)                      # 7 text and JSON
cli_src := $(wildcard libformat/cli/*.c)                         # 8 helpers of the programs

lib_map     := libformat/libbcfmt.map
lib_headers := $(wildcard libformat/include/bcfmt/*.h libformat/include/bcfmt/*.def)
lib_man5    := $(wildcard libformat/man/*.5)
lib_man7    := $(wildcard libformat/man/*.7)

programs := $(patsubst %/main.c,%,$(wildcard $(addsuffix /main.c,make-bcache bcache-fsck bcache-dump)))
$(foreach p,$(programs),$(eval $(p)_src := $(wildcard $(p)/*.c)))

unit_src := $(wildcard tests/unit/test_*.c tests/unit/*/test_*.c)
unit_kit := tests/unit/no_certs.c
kit_src  := $(wildcard tests/kit/*.c)
tool_src := $(wildcard tests/tools/*.c)
crash_src := $(wildcard tests/crash/*.c)
bench_src := $(wildcard tests/bench/*.c)
repair_src := $(wildcard tests/repair/*.c)
fields_src := $(wildcard tests/fields/*.c)
damage_src := $(wildcard tests/damage/*.c)
faults_lib_src := tests/faults/preload.c
faults_src := $(filter-out $(faults_lib_src),$(wildcard tests/faults/*.c))
guest_src := tests/kernel/guest_io.c
fuzz_src := $(wildcard tests/fuzz/fuzz_*.c)
fuzz_run := tests/fuzz/replay.c
fuzz_kit := $(filter-out $(fuzz_src) $(fuzz_run),$(wildcard tests/fuzz/*.c)) tests/repair/task.c

obj       = $(patsubst %.c,$(B)/%.o,$(1))
all_src   = $(lib_src) $(cli_src) $(foreach p,$(programs),$($(p)_src)) $(unit_src) $(unit_kit) $(kit_src) $(tool_src) \
            $(crash_src) $(bench_src) $(repair_src) $(fields_src) $(damage_src) $(faults_src) $(fuzz_src) $(fuzz_run) $(fuzz_kit)
progs     = $(foreach p,$(programs),$(B)/$(p)/$(p))
bash_completions = $(addsuffix .bash,$(progs))
units     = $(unit_src:%.c=$(B)/%)
tools     = $(tool_src:%.c=$(B)/%)
benches   = $(bench_src:%.c=$(B)/%)
replays   = $(fuzz_src:tests/fuzz/fuzz_%.c=$(B)/tests/fuzz/replay_%)
crash_log = $(B)/tests/crash/crash_log
repair_cuts = $(B)/tests/repair/repair_cuts
field_sweep = $(B)/tests/fields/field_sweep
damage_suite = $(B)/tests/damage/damage_suite
sweep     = $(B)/tests/faults/sweep
faults_so = $(B)/tests/faults/faults.so
guest_io  = $(B)/tests/kernel/guest_io
fuzzers   = $(fuzz_src:%.c=$(B)/%)

# ---- building ---------------------------------------------------------------------------
.PHONY: all lib programs test-programs FORCE
all: lib programs
lib: $(B)/libbcfmt.a $(B)/libbcfmt.so.$(VERSION) $(B)/libbcfmt.pc
programs: $(progs) $(bash_completions)
test-programs: $(units) $(tools) $(benches) $(crash_log) $(repair_cuts) $(field_sweep) $(damage_suite) $(sweep) $(faults_so) $(replays)
FORCE:

# Each is rewritten only when its text changes: a new flag compiles everything again, a source
# that came or went links again.
define settings
$(CC) | $(own_cpp) $(CPPFLAGS) | $(own_c) $(CFLAGS) | $(own_ld) $(LDFLAGS) | $(libs)
endef
define keep
$(file >$@.new,$(1))@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef
$(B)/settings: FORCE | $(B)/have-deps
	$(call keep,$(settings))
$(B)/paths: FORCE | $(B)/have-deps
	$(call keep,$(PREFIX) $(LIBDIR) $(INCLUDEDIR))
$(B)/sources: FORCE | $(B)/have-deps
	$(call keep,$(sort $(all_src)))
# Says which packages are missing before the compiler does.
$(B)/have-deps:
	@PKG_CONFIG='$(PKG_CONFIG)' tests/tools/deps --print build
	@mkdir -p $(@D) && touch $@

$(B)/%.o: %.c $(B)/settings
	@mkdir -p $(@D)
	$(call say,CC)$(compile) -MMD -MP -c -o $@ $<
$(call obj,$(unit_src) $(kit_src)): private own_cpp += -Itests $(unit_c)
$(call obj,$(unit_src)): private CFLAGS += $(unit_o)
$(call obj,$(tool_src) $(crash_src) $(bench_src) $(repair_src) $(fields_src) $(damage_src) $(faults_src) $(fuzz_src) $(fuzz_run) $(fuzz_kit)): private own_cpp += -Itests

ifneq ($(FUZZ),)
# What compares values helps where inputs are decoded. Above, it takes half of the time of a run.
$(call obj,$(filter-out $(addprefix libformat/,base/% codec/% dev/%),$(lib_src))): private own_c += -fno-sanitize-coverage=trace-cmp
endif
$(B)/libbcfmt.a: $(call obj,$(lib_src)) $(B)/sources
	$(call say,AR)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$(B)/libcli.a: $(call obj,$(cli_src)) $(B)/sources
	$(call say,AR)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$(B)/libbcfmt.so.$(VERSION): $(call obj,$(lib_src)) $(lib_map) $(B)/sources
	$(call say,LD)$(link) -shared $(if $(SAN)$(FUZZ),,-Wl,-z,defs) \
	  -Wl,-soname,libbcfmt.so.$(SOMAJOR) -Wl,--version-script=$(lib_map) \
	  -o $@ $(filter %.o,$^) $(libs)
$(B)/libbcfmt.pc: libformat/libbcfmt.pc.in $(B)/paths $(B)/settings
	$(call say,GEN)sed -e 's|@prefix@|$(PREFIX)|; s|@libdir@|$(LIBDIR)|' \
	  -e 's|@includedir@|$(INCLUDEDIR)|; s|@version@|$(VERSION)|; s|@pkgs@|$(pkgs)|' $< >$@

define program
$(B)/$(1)/$(1): $(call obj,$($(1)_src)) $(B)/libcli.a $(B)/libbcfmt.a $(B)/sources
	$$(call say,LD)$$(link) -o $$@ $$(filter %.o %.a,$$^) $$(libs)
endef
$(call obj,$(addprefix bcache-dump/,mount_fs.c mount_read.c files_ext.c files_ext_io.c)): private own_cpp += $(dump_c)
$(B)/bcache-dump/bcache-dump: private libs += $(dump_l)
$(foreach p,$(programs),$(eval $(call program,$(p))))

# bash loads one file a command: what all share goes in front.
$(bash_completions): $(B)/%.bash: libformat/cli/complete.bash %.bash
	@mkdir -p $(@D)
	$(call say,GEN)cat $^ >$@

$(B)/libkit.a: $(call obj,$(kit_src)) $(B)/sources
	$(call say,AR)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$(units): $(B)/%: $(B)/%.o $(call obj,$(unit_kit)) $(B)/libkit.a $(B)/libcli.a $(B)/libbcfmt.a
	$(call say,LD)$(link) $(test_ld) $(patsubst %,-Wl$(comma)--export-dynamic-symbol=%,mbedtls_x509_crt_parse_file mbedtls_x509_crt_parse_path) -o $@ $^ $(unit_l) $(libs) -lm
$(tools) $(benches): $(B)/%: $(B)/%.o $(B)/libkit.a $(B)/libcli.a $(B)/libbcfmt.a
	$(call say,LD)$(link) $(test_ld) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(libs)
$(B)/tests/tools/unpack-set: $(B)/tests/fuzz/memory.o

$(crash_log): $(call obj,$(crash_src)) $(B)/libkit.a $(B)/libcli.a $(B)/libbcfmt.a $(B)/sources
	$(call say,LD)$(link) -o $@ $(filter %.o %.a,$^) $(libs)
$(repair_cuts): $(call obj,$(repair_src)) $(B)/libkit.a $(B)/libcli.a $(B)/libbcfmt.a $(B)/sources
	$(call say,LD)$(link) -o $@ $(filter %.o %.a,$^) $(libs)
# Goes into a guest that has no libraries; so it stays without sanitizers.
$(guest_io): $(guest_src) $(B)/settings
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -static -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -std=gnu11 $(warnings) -O2 -o $@ $<
# Both programs in one process, and what is exported is compared instead of being written.
called = $(patsubst %,$(B)/tests/fields/main-%.o,bcache-fsck bcache-dump)
$(called): $(B)/tests/fields/main-%.o: %/main.c $(B)/settings
	@mkdir -p $(@D)
	$(call say,CC)$(compile) -Wno-missing-prototypes -Dmain=$(subst -,_,$*)_main -MMD -MP -c -o $@ $<
called_src = $(filter-out %/main.c bcache-dump/sink.c,$(bcache-fsck_src) $(bcache-dump_src))
$(field_sweep): $(call obj,$(fields_src))
$(field_sweep): private own_ld += -Wl,--wrap=bcfmt_dev_open,--wrap=bcfmt_dev_read_marked
$(damage_suite): $(call obj,$(damage_src) $(addprefix tests/fields/,judge.c changes.c))
$(field_sweep) $(damage_suite): $(call obj,$(called_src)) $(called) $(B)/libkit.a $(B)/libcli.a \
                $(B)/libbcfmt.a $(B)/sources
	$(call say,LD)$(link) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(libs) $(dump_l)
$(sweep): $(call obj,$(faults_src)) $(B)/libbcfmt.a $(B)/sources
	$(call say,LD)$(link) -o $@ $(filter %.o %.a,$^) $(libs)
# Stands before a program and its sanitizer, so it is not under one itself.
$(faults_so): $(faults_lib_src) $(wildcard tests/faults/*.h) $(B)/settings
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(own_cpp) -Itests $(CPPFLAGS) -std=gnu11 -fPIC -fvisibility=hidden $(warnings) \
	  $(CFLAGS) -shared $(LDFLAGS) -o $@ $< -ldl
# What allocates goes through tests/fuzz/faults.c, which makes it fail.
fuzz_ld := $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc strdup strndup vasprintf pthread_create)
# Its object goes first: not every target asks for it, and then the library does.
fuzz_ar  = $(B)/tests/fuzz/faults.o $(B)/libfuzz.a $(B)/libcli.a $(B)/libbcfmt.a
$(B)/libfuzz.a: $(call obj,$(fuzz_kit)) $(B)/sources
	$(call say,AR)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$(replays): $(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(call obj,$(fuzz_run)) $(fuzz_ar)
	$(call say,LD)$(link) $(test_ld) $(fuzz_ld) -o $@ $^ $(libs)
$(fuzzers): %: %.o $(fuzz_ar)
	$(call say,LD)$(link) $(fuzz_ld) -fsanitize=fuzzer -o $@ $^ $(libs)

# ---- tests, in rings --------------------------------------------------------------------
# Each ring ends with "NAME: N passed, N failed"; check adds them up. As many run at once as there are
# processors, and each prints what it has to say when it is done. Those that take longest go first,
# and those that wait more than they work.
rings := check-mount-sample check-transcripts check-unit check-cases check-faults-sample \
         check-fields-sample check-damage-sample check-generated check-files check-bad-input-sample \
         check-repair-super check-tools check-image-sample check-map-sample check-repairs-sample \
         check-writeback check-images check-fuzz-sample check-make check-crash-sample \
         check-repair-cuts-sample check-super check-install check-symbols check-man check-floors
ring   = $(q)B='$(B)' tests/tools/ring $@
# How much of a ring that check-NAME runs whole, and .ci/run does: less of it in make check than under
# sanitizers, which see no whole ring.
sample = $(if $(SAN),$(2),$(1))
jobs   = $(if $(findstring j,$(filter-out --%,$(MAKEFLAGS))),,-j$(shell nproc))

.PHONY: deps demo bench fuzz check check-rings check-sanitize check-crash check-repairs check-found \
        check-repair-cuts check-image check-map check-report report-deps check-mount check-faults \
        check-bad-input check-fuzz check-fields check-fields-sanitize check-damage check-kernel kernel-deps \
        $(rings)
deps:
	@PKG_CONFIG='$(PKG_CONFIG)' tests/tools/deps check
demo:
	@PKG_CONFIG='$(PKG_CONFIG)' tests/tools/deps demo
	@$(MAKE) $(jobs) programs
	@tests/tools/demo $(B)
# Some minutes for 40 million, and 8 GB in TMPDIR. No part of check: figures differ by machine.
export BENCH_MILLIONS BENCH_EXTENT
bench:
	@PKG_CONFIG='$(PKG_CONFIG)' tests/tools/deps bench
	@$(MAKE) $(jobs) programs $(benches) $(tools)
	@tests/bench/run-bench $(B)
# Until a crash or an interrupt.
TIME    ?= 300
TARGETS ?= $(fuzz_src:tests/fuzz/fuzz_%.c=%)
.PHONY: fuzz-merge
fuzz_with = $(q)B='$(B)' tests/tools/check-fuzz $(1) $(TARGETS:%=$(B)/tests/fuzz/fuzz_%)
ifneq ($(FUZZ),)
fuzz: $(fuzzers) $(tools)
	$(call fuzz_with,--libfuzzer $(TIME) $(O)/corpus)
fuzz-merge: $(fuzzers)
	$(call fuzz_with,--merge $(O)/corpus)
else
fuzz fuzz-merge:
	@PKG_CONFIG='$(PKG_CONFIG)' tests/tools/deps fuzz
	@$(MAKE) FUZZ=1 SAN=$(or $(SAN),address$(comma)undefined) $@
endif
.PHONY: coverage
ifneq ($(COV),)
coverage: $(replays)
	$(q)tests/tools/coverage $(B) $(O)/corpus $(replays)
else
coverage:
	@$(MAKE) COV=1 $@
endif
check: deps
	@$(MAKE) $(jobs) all test-programs
	@tests/tools/tally $(MAKE) $(jobs) --output-sync=target -k check-rings
check-rings: $(rings)
check-sanitize:
	@$(MAKE) SAN=address,undefined check
check-floors:
	$(ring) tests/tools/check-floors
check-symbols: lib
	$(ring) tests/tools/check-symbols $(B)/libbcfmt.so.$(VERSION) $(B)/libbcfmt.a
check-man: programs $(tools)
	$(ring) tests/tools/check-man $(programs)
check-tools: $(B)/have-deps
	$(ring) tests/tools/check-tools '$(CC)'
check-unit: $(units)
	$(ring) tests/tools/run-unit $(B)/logs $(units)
check-cases: programs $(tools)
	$(ring) tests/cases/run-cases
# Every golden case repaired, and what comes of it.
check-repairs: programs $(tools)
	$(ring) tests/cases/run-repairs
check-repairs-sample: programs $(tools)
	$(ring) tests/cases/run-repairs --step $(call sample,32,16)
# Power cuts in all of these repairs take minutes; some of them are enough for every day.
check-repair-cuts: programs $(tools) $(repair_cuts)
	$(ring) tests/tools/check-repair-cuts $(repair_cuts)
check-repair-cuts-sample: programs $(tools) $(repair_cuts)
	$(ring) tests/tools/check-repair-cuts $(repair_cuts) --sample $(call sample,20 12,16 0)
check-writeback: programs $(tools) $(faults_so)
	$(ring) tests/tools/check-writeback $(faults_so)
check-generated: programs $(tools)
	$(ring) tests/tools/check-generated
check-transcripts: programs $(tools)
	$(ring) tests/cli/run-transcripts
check-images: programs
	$(ring) tests/tools/check-images
# Every case and image takes a minute; a part of the cases is enough for every day.
check-image: programs $(tools)
	$(ring) tests/tools/check-image
check-image-sample: programs $(tools)
	$(ring) tests/tools/check-image --sample $(call sample,30,12)
# Every image and case takes a minute, like the image.
check-map: programs $(tools)
	$(ring) tests/tools/check-map
check-map-sample: programs $(tools)
	$(ring) tests/tools/check-map --sample $(call sample,30,12)
# Installs a browser; the largest cache takes a minute or two, and a gigabyte in TMPDIR.
check-report: report-deps programs $(tools)
	$(ring) tests/tools/check-report
report-deps:
	@PKG_CONFIG='$(PKG_CONFIG)' tests/tools/deps report
check-super: programs
	$(ring) tests/tools/check-super
check-repair-super: programs
	$(ring) tests/tools/check-repair-super
check-make: programs
	$(ring) tests/tools/check-make
# Every state of the log takes minutes; a part of them is enough for every day.
check-crash: programs $(crash_log)
	$(ring) tests/tools/check-crash $(crash_log)
check-crash-sample: programs $(crash_log)
	$(ring) tests/tools/check-crash $(crash_log) --step 23 --rounds 2
check-found: programs $(tools)
	$(ring) tests/tools/check-found
# Every command over every case, and all the inputs; some of them are enough for every day.
check-bad-input: programs $(tools)
	$(ring) tests/tools/check-bad-input
check-bad-input-sample: programs $(tools)
	$(ring) tests/tools/check-bad-input --step $(call sample,4,1)
check-fields: programs $(field_sweep)
	$(ring) tests/tools/check-fields $(field_sweep)
check-fields-sanitize:
	@$(MAKE) SAN=address,undefined check-fields
check-fields-sample: programs $(field_sweep)
	$(ring) tests/tools/check-fields $(field_sweep) --step 97
check-damage: programs $(damage_suite)
	$(ring) tests/damage/run-damage $(damage_suite)
check-damage-sample: programs $(damage_suite)
	$(ring) tests/damage/run-damage $(damage_suite) --step 23
check-faults: programs $(tools) $(sweep) $(faults_so)
	$(ring) tests/tools/check-faults $(sweep) $(faults_so)
check-faults-sample: programs $(tools) $(sweep) $(faults_so)
	$(q)EVERY=$(call sample,3,1) B='$(B)' tests/tools/ring $@ tests/tools/check-faults $(sweep) $(faults_so) --step 29
check-fuzz: $(replays)
	$(ring) tests/tools/check-fuzz $(replays)
check-fuzz-sample: $(replays)
	$(q)RUNS='$(or $(RUNS),$(call sample,1000))' B='$(B)' tests/tools/ring $@ tests/tools/check-fuzz $(replays)
check-mount: programs $(tools)
	$(ring) tests/tools/check-mount
check-mount-sample: programs $(tools)
	$(ring) tests/tools/check-mount --sample
check-files: programs $(tools)
	$(ring) tests/tools/check-files
check-install: all
	$(ring) tests/tools/check-install '$(MAKE)' '$(CC)'
check-kernel: kernel-deps programs $(tools) $(guest_io)
	$(ring) tests/kernel/check-kernel
kernel-deps:
	@PKG_CONFIG='$(PKG_CONFIG)' tests/tools/deps kernel

# ---- install ----------------------------------------------------------------------------
.PHONY: install uninstall
inst_dirs  = $(SBINDIR) $(LIBDIR) $(PKGCONFDIR) $(INCLUDEDIR)/bcfmt \
             $(addprefix $(MANDIR)/,man5 man7 man8) $(COMPDIR)
inst_progs = $(programs) $(if $(filter bcache-fsck,$(programs)),fsck.bcache)
installed  = $(foreach p,$(inst_progs),$(SBINDIR)/$(p) $(MANDIR)/man8/$(p).8 $(COMPDIR)/$(p)) \
             $(addprefix $(INCLUDEDIR)/bcfmt/,$(notdir $(lib_headers))) $(PKGCONFDIR)/libbcfmt.pc \
             $(addprefix $(LIBDIR)/libbcfmt,.a .so .so.$(SOMAJOR) .so.$(VERSION)) \
             $(addprefix $(MANDIR)/man5/,$(notdir $(lib_man5))) \
             $(addprefix $(MANDIR)/man7/,$(notdir $(lib_man7)))
install: all
	$(q)$(INSTALL) -d $(addprefix $(DESTDIR),$(inst_dirs))
	$(q)$(INSTALL) -m 755 $(progs) $(DESTDIR)$(SBINDIR)
	$(q)$(INSTALL) -m 644 $(B)/libbcfmt.a $(DESTDIR)$(LIBDIR)
	$(q)$(INSTALL) -m 755 $(B)/libbcfmt.so.$(VERSION) $(DESTDIR)$(LIBDIR)
	$(q)ln -sf libbcfmt.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libbcfmt.so.$(SOMAJOR)
	$(q)ln -sf libbcfmt.so.$(SOMAJOR) $(DESTDIR)$(LIBDIR)/libbcfmt.so
	$(q)$(INSTALL) -m 644 $(lib_headers) $(DESTDIR)$(INCLUDEDIR)/bcfmt
	$(q)$(INSTALL) -m 644 $(B)/libbcfmt.pc $(DESTDIR)$(PKGCONFDIR)
	$(q)$(INSTALL) -m 644 $(lib_man5) $(DESTDIR)$(MANDIR)/man5
	$(q)$(INSTALL) -m 644 $(lib_man7) $(DESTDIR)$(MANDIR)/man7
	$(q)for p in $(programs); do \
	  $(INSTALL) -m 644 $$p/$$p.8 $(DESTDIR)$(MANDIR)/man8/$$p.8 && \
	  $(INSTALL) -m 644 $(B)/$$p/$$p.bash $(DESTDIR)$(COMPDIR)/$$p || exit 1; done
ifneq ($(filter bcache-fsck,$(programs)),)
	$(q)ln -sf bcache-fsck $(DESTDIR)$(SBINDIR)/fsck.bcache
	$(q)ln -sf bcache-fsck.8 $(DESTDIR)$(MANDIR)/man8/fsck.bcache.8
	$(q)ln -sf bcache-fsck $(DESTDIR)$(COMPDIR)/fsck.bcache
endif
# Folders go when nobody else has a file in them; those that every prefix has stay.
uninstall:
	$(q)rm -f $(addprefix $(DESTDIR),$(installed))
	$(q)for d in $(addprefix $(DESTDIR),$(INCLUDEDIR)/bcfmt $(PKGCONFDIR) $(COMPDIR) $(dir $(COMPDIR)) \
	  $(addprefix $(MANDIR)/,man5 man7 man8)); do rmdir "$$d" 2>/dev/null || :; done

# ---- the rest ---------------------------------------------------------------------------
.PHONY: clean help format man
# The manual of problems is made from the table of problems and kept in the tree.
man: $(B)/tests/tools/gen-problems-man
	$(q)$< >libformat/man/bcache-problems.7
format:
	$(q)clang-format -i $$(git ls-files '*.c' '*.h')
clean:
	rm -rf $(O)
help:
	@sed -n 's/^## \{0,1\}//p' Makefile

-include $(patsubst %.o,%.d,$(call obj,$(all_src)) $(called))
