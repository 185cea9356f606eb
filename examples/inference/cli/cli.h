/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cli.h: what the program can be told to do; each gets the words after its name, and returns the program's status. */
#ifndef INFERENCE_CLI_H
#define INFERENCE_CLI_H

int command_data(int count, char **words);
int command_train(int count, char **words);
int command_evaluate(int count, char **words);
int command_run(int count, char **words);
int command_align(int count, char **words);
int command_explain(int count, char **words);

#endif
