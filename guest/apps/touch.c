/* Loads absent selectors: what relocation answers (paper, 2.3.3). And guesses, which it is to stop. */
#include "test.h"
#include "selectors.h"

APPLICATION(touch, ORDINARY, "touch", "loads as many absent selectors as its argument says")
{
	char arguments[40];
	uint32_t wanted;

	service_process_arguments(arguments, sizeof(arguments));
	wanted = parse_number(arguments);
	for (uint32_t i = 0; i < wanted; i++)
		fault_of(load_fs, (void *)absent_selector());
	return 0;
}

/* Any selector that could be DSOS: not the slots at the start of the GDT, which are told apart at sight. */
static uint32_t guess(void)
{
	uint32_t selector;

	do
		selector = ((uint32_t)service_random() & SELECTOR_MASK) | 3;
	while (!(selector & 4) && selector >> 3 < GDT_FIRST_FREE);
	return selector;
}

/* Three different guesses to a round, as the paper counts; a hit ends this process at the next guess. */
APPLICATION(guesser, ORDINARY, "guesser", "guesses DSOS, three times a round, for as many rounds as its argument says")
{
	char arguments[40];
	uint32_t rounds, guesses[3];

	service_process_arguments(arguments, sizeof(arguments));
	for (rounds = parse_number(arguments); rounds; rounds--)
		for (int i = 0; i < 3; i++) {
			guesses[i] = guess();
			while (i > 0 && (guesses[i] == guesses[0] || (i > 1 && guesses[i] == guesses[1])))
				guesses[i] = guess();
			fault_of(load_fs, (void *)guesses[i]);
		}
	return 0;
}
