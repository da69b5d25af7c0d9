/* The VGA text buffer: a memory-mapped device in OS memory, out of DSAPP's reach (paper, 2.3.2). */
#include "os.h"

#define ROWS 25
#define COLUMNS 80
#define LIGHT_GREY 0x0700

static uint16_t *const cells = (uint16_t *)(OS_BASE + 0xB8000);
static uint32_t row, column;

void screen_clear(void)
{
	for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
		cells[i] = LIGHT_GREY | ' ';
	row = column = 0;
}

static void next_row(void)
{
	column = 0;
	if (++row < ROWS)
		return;
	row = ROWS - 1;
	memcpy(cells, cells + COLUMNS, (ROWS - 1) * COLUMNS * sizeof(*cells));
	for (uint32_t i = 0; i < COLUMNS; i++)
		cells[row * COLUMNS + i] = LIGHT_GREY | ' ';
}

void screen_write(const char *text, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++) {
		if (text[i] != '\n')
			cells[row * COLUMNS + column++] = (uint16_t)(LIGHT_GREY | (uint8_t)text[i]);
		if (text[i] == '\n' || column == COLUMNS)
			next_row();
	}
}

void screen_write_at(uint32_t at_row, uint32_t at_column, const char *text, uint32_t length)
{
	for (uint32_t i = 0; i < length && at_row < ROWS && at_column + i < COLUMNS; i++)
		cells[at_row * COLUMNS + at_column + i] = (uint16_t)(LIGHT_GREY | (uint8_t)text[i]);
}
