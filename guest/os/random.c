/* Two random sources (xorshift64*): a secret one for DSOS (paper, 2.3.3), and one that applications may draw from. */
#include "os.h"

#define MULTIPLIER 0x2545F4914F6CDD1DULL

static uint64_t public_state;

static uint32_t draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * MULTIPLIER >> 32);
}

static uint64_t spread(uint32_t seed, uint64_t salt)
{
	uint64_t state = (seed + salt) * MULTIPLIER;

	return state ? state : MULTIPLIER;
}

void random_seed(uint32_t seed)
{
	klos_info.seed = seed;
	klos_info.random_state = spread(seed, 0x9E3779B97F4A7C15ULL);
	public_state = spread(seed, 0xD1B54A32D192ED03ULL);
}

/* Evenly distributed, for bounds that are powers of two. */
uint32_t random_below(uint32_t bound)
{
	uint64_t state = klos_info.random_state;
	uint32_t drawn = draw(&state);

	klos_info.random_state = state;
	klos_info.random_draws++;
	return drawn % bound;
}

uint32_t random_public(void)
{
	return draw(&public_state);
}
