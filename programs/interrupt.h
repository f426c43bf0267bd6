/* Ctrl-C as a flag that generation looks at, instead of the end of the program. */
#ifndef SLUICE_PROGRAMS_INTERRUPT_H
#define SLUICE_PROGRAMS_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT only sets the flag; system calls are interrupted. With last_resort a second
 * SIGINT ends the program as usual. */
void cli_interrupt_catch(bool last_resort);
bool cli_interrupted(void);
void cli_interrupt_clear(void);

#endif
