/* SPDX-License-Identifier: BSD-3-Clause
 *
 * models.c: translate models. */
#include "commands/commands.h"
#include "commands/options.h"
#include "model/model.h"

#include <stdio.h>

int command_models(int count, char **words)
{
    const command_line line = {.usage = "translate models", .about = "Lists the models, a line each."};
    command_line_take(&line, count, words, NULL);
    for (int i = 0; i < model_kind_count; i++) printf("%-12s %s\n", model_kinds[i].name, model_kinds[i].about);
    return 0;
}
