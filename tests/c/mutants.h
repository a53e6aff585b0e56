/* SPDX-License-Identifier: MIT */
/* The mutants: what is altered, and the test that must fail then. */
