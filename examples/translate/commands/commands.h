/* SPDX-License-Identifier: BSD-3-Clause
 *
 * commands.h: what the program can be told to do; each gets the words after its name, and returns the program's status.
 */
#ifndef TRANSLATE_COMMANDS_H
#define TRANSLATE_COMMANDS_H

int command_data(int count, char **words);
int command_train(int count, char **words);
int command_batches(int count, char **words);
int command_evaluate(int count, char **words);
int command_run(int count, char **words);
int command_align(int count, char **words);
int command_explain(int count, char **words);
int command_adversary(int count, char **words);
int command_figures(int count, char **words);
int command_models(int count, char **words);

#endif
