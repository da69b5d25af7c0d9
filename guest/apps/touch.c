/* Loads absent selectors: what the paper's relocation answers. */
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
