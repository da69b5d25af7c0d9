#include "report.h"

static const char *const class_names[] = {
	[CLASS_LOAD] = "load",
	[CLASS_DATA] = "data",
	[CLASS_STACK] = "stack",
	[CLASS_FETCH] = "fetch",
	[CLASS_TRANSFER] = "transfer",
	[CLASS_GATE] = "gate",
	[CLASS_INTERRUPT] = "interrupt",
	[CLASS_IO] = "io",
	[CLASS_PRIVILEGED] = "privileged",
	[CLASS_DESCRIPTOR_TABLE] = "descriptor-table",
	[CLASS_SYSENTER] = "sysenter",
	[CLASS_QUERY] = "query",
	[CLASS_PAGING] = "paging",
	[CLASS_DEBUG] = "debug",
	[CLASS_TASK] = "task",
};

static const char *const vector_names[VECTOR_LAST + 1] = {
	"DE", "DB", "NMI", "BP", "OF", "BR", "UD", "NM", "DF", "9", "TS", "NP", "SS", "GP", "PF", "15", "MF", "AC",
};

static unsigned same_count, different_count, skipped_count;

static bool has_error_code(enum vector vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) || vector == VECTOR_AC;
}

static void put_outcome(const struct outcome *outcome, const struct outcome *expected)
{
	if (outcome->kind == KIND_VALUE) {
		put_text("eax=");
		put_hex(outcome->code);
		return;
	}
	put_char('#');
	if (outcome->vector <= VECTOR_LAST)
		put_text(vector_names[outcome->vector]);
	else
		put_hex(outcome->vector);
	if (has_error_code(outcome->vector)) {
		put_char('(');
		put_hex(outcome->code);
		put_char(')');
	}
	if (outcome->vector == VECTOR_PF) {
		put_text(" cr2=");
		put_hex(outcome->cr2 & (expected->cr2_mask ? expected->cr2_mask : ~0u));
	}
}

static bool same(const struct outcome *expected, const struct outcome *got)
{
	if (got->kind != expected->kind)
		return false;
	if (got->kind == KIND_VALUE)
		return !((got->code ^ expected->code) & expected->mask);
	return got->vector == expected->vector &&
	       (!has_error_code(got->vector) || got->code == expected->code) &&
	       (got->vector != VECTOR_PF || !((got->cr2 ^ expected->cr2) & expected->cr2_mask));
}

static void put_id(const char *symbol)
{
	for (; *symbol; symbol++)
		put_char(*symbol == '_' ? '-' : *symbol);
}

static void put_row(const struct row *row)
{
	put_text("ROW|");
	put_id(row->symbol);
	put_char('|');
	put_text(class_names[row->class]);
	put_text(row->ring0 ? "|0|" : "|3|");
	put_outcome(&row->expected, &row->expected);
	put_char('|');
}

void report_row(const struct row *row, const struct outcome *got)
{
	bool as_expected = same(&row->expected, got);

	if (as_expected)
		same_count++;
	else
		different_count++;
	put_row(row);
	put_outcome(got, &row->expected);
	put_char('|');
	put_hex(got->linear);
	put_text(as_expected ? "|same|" : "|differs|");
	put_text(row->title);
	put_char('\n');
}

void report_skipped(const struct row *row, const char *reason)
{
	skipped_count++;
	put_row(row);
	put_text(reason);
	put_text("|0|skipped|");
	put_text(row->title);
	put_char('\n');
}

static void put_registers_as_text(const uint32_t *registers, unsigned count)
{
	const char *bytes = (const char *)registers;

	for (unsigned i = 0; i < count * 4; i++)
		if (bytes[i] > ' ' && bytes[i] < 127 && bytes[i] != '|')
			put_char(bytes[i]);
}

void report_header(const char *machine, unsigned rows)
{
	struct cpuid vendor = cpuid(0), features = cpuid(1), hypervisor = { 0 };

	if (features.ecx >> 31)
		hypervisor = cpuid(0x40000000);
	put_text("PROBE|1|machine=");
	put_text(machine);
	put_text("|build=");
	put_text(BUILD_ID);
	put_text("|rows=");
	put_decimal(rows);
	put_text("|vendor=");
	put_registers_as_text((uint32_t[]){ vendor.ebx, vendor.edx, vendor.ecx }, 3);
	put_text("|hypervisor=");
	put_registers_as_text((uint32_t[]){ hypervisor.ebx, hypervisor.ecx, hypervisor.edx }, 3);
	put_text("|signature=");
	put_hex(features.eax);
	put_char('\n');
}

void report_end(void)
{
	put_text("END|same=");
	put_decimal(same_count);
	put_text("|differs=");
	put_decimal(different_count);
	put_text("|skipped=");
	put_decimal(skipped_count);
	put_char('\n');
}
