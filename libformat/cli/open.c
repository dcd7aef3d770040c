/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the devices of a command line. */
#include "cli/open.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <bcfmt/image.h>

#include "cli/image.h"
#include "cli/message.h"

/* One device under two names would be two members of the set. */
static bool is_same_device(const char *a, const char *b)
{
	struct stat one;
	struct stat two;

	if (stat(a, &one) || stat(b, &two))
		return false;
	if (S_ISBLK(one.st_mode) && S_ISBLK(two.st_mode))
		return one.st_rdev == two.st_rdev;
	return one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

static bcfmt_err find_doubles(const struct cli_open_params *params)
{
	for (size_t i = 1; i < params->n_paths; i++) {
		for (size_t j = 0; j < i; j++) {
			if (!is_same_device(params->paths[i], params->paths[j]))
				continue;
			cli_error(params->paths[i], "same device as %s", params->paths[j]);
			return BCFMT_E_ARG;
		}
	}
	return BCFMT_OK;
}

static bcfmt_err open_one(struct bcfmt_ctx *ctx, const struct cli_open_params *params, size_t i,
			  struct bcfmt_dev **out)
{
	const char *path = params->paths[i];
	unsigned int flags = params->flags | (params->is_in_use_ok ? BCFMT_OPEN_IN_USE_OK : 0);
	struct bcfmt_dev *dev;
	struct bcfmt_dev *mapped;
	bcfmt_err err;

	err = bcfmt_dev_open(ctx, path, flags, &dev);
	if (err) {
		cli_error_ctx(path, ctx, err);
		/* Nothing makes writing to a device in use safe. */
		if (err == BCFMT_E_BUSY && !(flags & BCFMT_OPEN_EXCLUSIVE))
			cli_error(path, "use --force to read it all the same");
		return err;
	}
	if (bcfmt_dev_was_in_use(dev))
		cli_error(path, "in use: it may change while it is read, the result may be "
				"inconsistent");
	if (i < params->n_bad_maps) {
		err = bcfmt_dev_badmap(ctx, dev, params->bad_maps[i], &mapped);
		if (err) {
			cli_error_ctx(params->bad_maps[i], ctx, err);
			bcfmt_dev_free(dev);
			return err;
		}
		dev = mapped;
	}
	*out = dev;
	return BCFMT_OK;
}

bcfmt_err cli_devices_add(struct cli_devices *devices, struct bcfmt_dev *dev, enum bcfmt_role role)
{
	size_t cap = devices->n < devices->cap ? devices->cap : 2 * devices->cap + 4;
	struct bcfmt_dev **devs = realloc(devices->devs, cap * sizeof(*devs));
	enum bcfmt_role *roles = realloc(devices->roles, cap * sizeof(*roles));

	devices->devs = devs ? devs : devices->devs;
	devices->roles = roles ? roles : devices->roles;
	if (!devs || !roles) {
		cli_error(NULL, "out of memory");
		bcfmt_dev_free(dev);
		return BCFMT_E_NOMEM;
	}
	devices->cap = cap;
	devices->devs[devices->n] = dev;
	devices->roles[devices->n++] = role;
	return BCFMT_OK;
}

static bcfmt_err add_path(struct bcfmt_ctx *ctx, const struct cli_open_params *params, size_t i,
			  struct cli_devices *out)
{
	enum bcfmt_role role = params->roles ? params->roles[i] : BCFMT_ROLE_AUTO;
	struct bcfmt_dev *dev;
	bcfmt_err err = open_one(ctx, params, i, &dev);

	if (err)
		return err;
	if (bcfmt_dev_is_writable(dev) || !bcfmt_image_is(dev))
		return cli_devices_add(out, dev, role);
	if (i >= params->n_bad_maps)
		return cli_image_add(ctx, dev, role, out);
	cli_error(params->paths[i], "a metadata image knows what could not be read: no --bad-map");
	bcfmt_dev_free(dev);
	return BCFMT_E_ARG;
}

bcfmt_err cli_devices_open(struct bcfmt_ctx *ctx, const struct cli_open_params *params,
			   struct cli_devices *out)
{
	bcfmt_err err;

	*out = (struct cli_devices){ 0 };
	if (params->n_bad_maps > params->n_paths) {
		cli_error(NULL, "%zu bad maps for %zu devices", params->n_bad_maps,
			  params->n_paths);
		return BCFMT_E_ARG;
	}
	err = find_doubles(params);
	for (size_t i = 0; i < params->n_paths && !err; i++)
		err = add_path(ctx, params, i, out);
	if (err)
		cli_devices_close(out);
	return err;
}

void cli_devices_close(struct cli_devices *devices)
{
	for (size_t i = 0; i < devices->n; i++)
		bcfmt_dev_free(devices->devs[i]);
	free(devices->devs);
	free(devices->roles);
	*devices = (struct cli_devices){ 0 };
}

struct bcfmt_dev *cli_devices_image(const struct cli_devices *devices)
{
	for (size_t i = 0; i < devices->n; i++)
		if (bcfmt_dev_is_image(devices->devs[i]))
			return devices->devs[i];
	return NULL;
}
