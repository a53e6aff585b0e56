/* SPDX-License-Identifier: MIT */
/* Tests by name, for the mutants: "random", "directed: NAME", "pair: A, B". */
#ifndef SIM_CATCH_H
#define SIM_CATCH_H

/* Run it. Fails loudly, as under any of the programs; also where there is no such test. */
void sim_catch_run(const char *test);

#endif
