/* What self-tests and attacks find out. */
#include "os.h"
#include "services.h"

int do_report(const char *name, uint32_t result, const char *reason)
{
	char own_name[28], own_reason[96];

	if (user_string(name, own_name, sizeof(own_name)) < 0 || user_string(reason, own_reason, sizeof(own_reason)) < 0)
		return ERROR_POINTER;
	print("%s %s: %s\n", result == KLOS_RESULT_PASS ? "PASS" : "FAIL", own_name, own_reason);
	return 0;
}
