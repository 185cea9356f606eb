/* SPDX-License-Identifier: BSD-3-Clause
 *
 * parameters.c: a list of names and tensors.
 */
#include "parameters.h"

#include "fail.h"
#include "npy.h"

#include <stdlib.h>
#include <string.h>

static parameter *find(const parameters *list, const char *name)
{
    for (size_t i = 0; i < list->count; ++i) {
        if (strcmp(list->items[i].name, name) == 0) return &list->items[i];
    }
    return NULL;
}

void parameters_add(parameters *list, const char *argument)
{
    const char *equals = strchr(argument, '=');
    if (equals == NULL || equals == argument || equals[1] == '\0') {
        fail("--param takes NAME=FILE, not '%s'", argument);
    }
    char *name = copy_string(argument);
    name[equals - argument] = '\0';
    if (find(list, name) != NULL) fail("--param %s is given twice", name);
    list->items = reallocate(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (parameter){.name = name, .file = equals + 1};
}

void parameters_read(parameters *list, attn_dtype u2)
{
    for (size_t i = 0; i < list->count; ++i) list->items[i].tensor = npy_read(list->items[i].file, u2);
}

void parameters_free(parameters *list)
{
    for (size_t i = 0; i < list->count; ++i) {
        free(list->items[i].name);
        free(list->items[i].tensor.data);
    }
    free(list->items);
    *list = (parameters){0};
}

const attn_tensor *parameters_find(const parameters *list, const char *name)
{
    const parameter *found = find(list, name);
    return found != NULL ? &found->tensor : NULL;
}

const attn_tensor *parameters_need(const parameters *list, const char *name, const char *subject)
{
    const attn_tensor *tensor = parameters_find(list, name);
    if (tensor == NULL) fail("%s needs --param %s=FILE", subject, name);
    return tensor;
}

const attn_tensor *parameters_take(parameters *list, const char *name)
{
    parameter *found = find(list, name);
    if (found == NULL) return NULL;
    found->taken = true;
    return &found->tensor;
}
