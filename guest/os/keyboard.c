/* PS/2 keyboard, a driver in ring 3 (paper, 2): scan codes of set 1 to characters. */
#include "os.h"

#define DATA 0x60
#define RELEASED 0x80
#define LEFT_SHIFT 0x2A
#define RIGHT_SHIFT 0x36

static const char plain[] = "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
static char keys[32];
static uint32_t key_first, key_count;
static int shift;

static void press(uint8_t code)
{
	if (code == LEFT_SHIFT || code == RIGHT_SHIFT) {
		shift = 1;
		return;
	}
	char key = code < sizeof(plain) ? (shift ? shifted : plain)[code] : 0;
	if (!key || key_count == sizeof(keys))
		return;
	keys[(key_first + key_count++) % sizeof(keys)] = key;
	threads_wake(KLOS_WAIT_KEY, 0);
}

int key_take(void)
{
	int key = ERROR_EMPTY;

	critical_enter();
	if (key_count) {
		key = (uint8_t)keys[key_first];
		key_first = (key_first + 1) % sizeof(keys);
		key_count--;
	}
	critical_leave();
	return key;
}

EVENT_HANDLER(event_keyboard)
{
	uint32_t before = io_open(DATA, 1);
	uint8_t code = in8(DATA);

	(void)frame;
	io_close(DATA, 1, before);
	if (!(code & RELEASED))
		press(code);
	else if ((code & ~RELEASED) == LEFT_SHIFT || (code & ~RELEASED) == RIGHT_SHIFT)
		shift = 0;
}
