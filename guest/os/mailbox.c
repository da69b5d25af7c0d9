/* The debugger's requests to the running system (klos_abi.h describes the protocol). */
#include "os.h"

#define DEBUG_EXIT 0xF4
#define BOCHS_SHUTDOWN 0x8900

static struct klos_mailbox mailbox;

/* Executed when the boot option's orders have been carried out. A place to stop at. */
__attribute__((noinline)) void orders_done(void)
{
	__asm__ volatile("");
}

void mailbox_start(void)
{
	klos_info.mailbox = (uint32_t)&mailbox;
}

static void answer(uint32_t status, uint32_t result, const char *text)
{
	mailbox.result = result;
	string_copy(mailbox.text, text, sizeof(mailbox.text));
	mailbox.served++;
	mailbox.status = status;
}

/* Split "name arguments". */
static char *split(char *command)
{
	while (*command && *command != ' ')
		command++;
	if (*command)
		*command++ = 0;
	return command;
}

static void relocate(struct klos_frame *frame)
{
	uint32_t times = mailbox.argument ? mailbox.argument : 1;

	for (uint32_t i = 0; i < times && i < 1000; i++)
		dsos_relocate(frame, KLOS_CAUSE_MAILBOX);
	answer(KLOS_MAILBOX_DONE, klos_info.dsos, "relocated");
}

/* At every tick: what takes an instant is done here, the rest by the system process. */
void mailbox_poll(struct klos_frame *frame)
{
	if (mailbox.status != KLOS_MAILBOX_REQUEST || klos_info.event_depth != 1)
		return;
	mailbox.command[sizeof(mailbox.command) - 1] = 0;
	mailbox.status = KLOS_MAILBOX_RUNNING;
	if (string_equal(mailbox.command, "ping"))
		answer(KLOS_MAILBOX_DONE, mailbox.argument, "here");
	else if (string_equal(mailbox.command, "relocate"))
		relocate(frame);
	else
		threads_wake(KLOS_WAIT_EVENT, 0);
}

static const char *argument_of(const char *command)
{
	while (*command && *command != ' ')
		command++;
	return command + (*command == ' ');
}

static void leave(void)
{
	static const char shutdown[] = "Shutdown";
	uint32_t before = io_open(DEBUG_EXIT, 1);

	out8(DEBUG_EXIT, (uint8_t)mailbox.argument);
	io_close(DEBUG_EXIT, 1, before);
	before = io_open(BOCHS_SHUTDOWN, 1);
	for (uint32_t i = 0; i + 1 < sizeof(shutdown); i++)
		out8(BOCHS_SHUTDOWN, (uint8_t)shutdown[i]);
	io_close(BOCHS_SHUTDOWN, 1, before);
	answer(KLOS_MAILBOX_ERROR, 0, "this machine has no exit port");
}

/* Start what the command's second word names; the third is its arguments. Answers where that fails. */
static struct process *start(void)
{
	char command[sizeof(mailbox.command)];
	char *name, *arguments;
	struct process *process;
	int error;

	string_copy(command, mailbox.command, sizeof(command));
	name = split(command);
	arguments = split(name);
	process = process_create(name, arguments, klos_info.current_pid, &error);
	if (!process)
		answer(KLOS_MAILBOX_ERROR, (uint32_t)error, "cannot start it: no such application, or no room");
	return process;
}

static void started(const struct process *process)
{
	if (process)
		answer(KLOS_MAILBOX_DONE, process->public.pid, "started");
}

static void run(void)
{
	const struct process *process = start();
	uint32_t code = 0;
	int end;

	if (!process)
		return;
	end = process_wait(process->public.pid, &code);
	answer(KLOS_MAILBOX_DONE, code, end ? "ended by an exception" : "ended");
}

/* Let an application load so many absent selectors; the result is how often DSOS moved. */
static void touch(void)
{
	uint32_t before = klos_info.relocations, code;
	const struct process *process;

	format(mailbox.command, sizeof(mailbox.command), "run touch %u", mailbox.argument);
	process = start();
	if (!process)
		return;
	process_wait(process->public.pid, &code);
	answer(KLOS_MAILBOX_DONE, klos_info.relocations - before, "relocations");
}

static void report(uint32_t failed)
{
	answer(KLOS_MAILBOX_DONE, failed, failed ? "some failed" : "all as expected");
}

/* One attack, or all. */
static void attack(const char *name)
{
	uint32_t failed = run_attacks(name);

	if (klos_info.attacks.count)
		report(failed);
	else
		answer(KLOS_MAILBOX_ERROR, 0, "no such attack");
}

static void serve(const char *command)
{
	if (string_equal(command, "start"))
		started(start());
	else if (string_equal(command, "run"))
		run();
	else if (string_equal(command, "touch"))
		touch();
	else if (string_equal(command, "selftest"))
		report(run_selftests());
	else if (string_equal(command, "attacks"))
		attack(argument_of(mailbox.command));
	else if (string_equal(command, "soak"))
		report(run_soak(mailbox.argument));
	else if (string_equal(command, "bench"))
		answer(KLOS_MAILBOX_DONE, run_bench(), "rows");
	else if (string_equal(command, "exit"))
		leave();
	else
		answer(KLOS_MAILBOX_ERROR, 0, "no such command");
}

/* In the system process, in a critical section. Nonzero where there was something to do. */
int mailbox_serve(void)
{
	char command[sizeof(mailbox.command)];

	if (mailbox.status != KLOS_MAILBOX_RUNNING)
		return 0;
	string_copy(command, mailbox.command, sizeof(command));
	split(command);
	serve(command);
	return 1;
}

/* Do what the boot option `run` says, as if a debugger had asked: commands separated by commas, a colon for a blank. */
void mailbox_order(const char *commands)
{
	while (*commands) {
		uint32_t length = 0;
		while (commands[length] && commands[length] != ',')
			length++;
		string_copy(mailbox.command, commands, length + 1 < sizeof(mailbox.command) ? length + 1 : sizeof(mailbox.command));
		for (char *c = mailbox.command; *c; c++)
			if (*c == ':')
				*c = ' ';
		mailbox.argument = parse_number(argument_of(mailbox.command));
		mailbox.status = KLOS_MAILBOX_RUNNING;
		mailbox_serve();
		mailbox.status = KLOS_MAILBOX_EMPTY;
		commands += length + (commands[length] == ',');
	}
}
