/* SPDX-License-Identifier: MIT */
/*
 * entry.S: the ways between guest code and ours.
 *
 * guest_stub_start .. + 4096 is the one range from which system calls are let through while the
 * selector says "block". Everything in it runs on the guest's stack, FS base and signal mask.
 *
 * The signal frame of SIGSYS lies right below the guest's red zone, and the kernel reads it again
 * when our handler returns: C may not write there. So a stub gets what it needs in rcx and r11,
 * which a system call spoils anyway, and pushes it itself, once the signal frame is dead:
 *
 *	rcx	return address in the guest
 *	r11	the call's number, for C to know after a watched call
 *
 * A call with changed arguments needs more: C puts a struct stub_frame (guest.h) below the signal
 * frame, and rsp is there:
 *
 *	rsp + 0   return address in the guest
 *	rsp + 8   rdi rsi rdx r10 r8 r9 as the guest passed them
 *	rsp + 56  the guest's rsp
 *	rsp + 64  room for changed arguments
 */

	.section .text.guest_stub, "ax", @progbits
	.p2align 12
	.globl guest_stub_start
guest_stub_start:

	/* rsp points one word above the frame of the signal. */
	.globl guest_restorer
guest_restorer:
	mov $15, %eax
	syscall
	ud2

	/* A call as the guest made it. */
	.globl guest_stub_pass
guest_stub_pass:
	lea -128(%rsp), %rsp
	push %rcx
	syscall
	ret $128

	/* A call with changed arguments: they are put back afterwards. */
	.globl guest_stub_changed, guest_stub_changed_ip
guest_stub_changed:
	syscall
guest_stub_changed_ip:
	mov 8(%rsp), %rdi
	mov 16(%rsp), %rsi
	mov 24(%rsp), %rdx
	mov 32(%rsp), %r10
	mov 40(%rsp), %r8
	mov 48(%rsp), %r9
	mov (%rsp), %rcx
	mov 56(%rsp), %rsp
	jmp *%rcx

	/* A call whose result we look at: the trap after it leads to C (struct watch_frame). */
	.globl guest_stub_watched
guest_stub_watched:
	lea -128(%rsp), %rsp
	push %rcx
	push %r11
	syscall
	jmp guest_trap_watched

	/*
	 * fork, vfork, clone. All signals are blocked here. The child is born with dispatch off
	 * and turns it on before anything else.
	 */
	.globl guest_stub_clone
guest_stub_clone:
	syscall
	test %rax, %rax
	jnz 1f
	mov $157, %eax			/* prctl */
	mov $59, %edi			/* PR_SET_SYSCALL_USER_DISPATCH */
	mov $1, %esi			/* on */
	lea guest_stub_start(%rip), %rdx
	mov $4096, %r10d
	lea guest_selector(%rip), %r8
	syscall
	jmp guest_trap_child
	/* A vforked child may have left (exec, a kill) with the selector open. */
1:	movb $1, guest_selector(%rip)
	jmp guest_trap_parent

	.p2align 12
	.globl guest_stub_end
guest_stub_end:

	.text
	/* System calls from outside the allowed range: SIGSYS, told apart by their address. */
	.globl guest_trap_watched, guest_trap_watched_ip
guest_trap_watched:
	syscall
guest_trap_watched_ip:
	ud2
	.globl guest_trap_parent, guest_trap_parent_ip
guest_trap_parent:
	syscall
guest_trap_parent_ip:
	ud2
	.globl guest_trap_child, guest_trap_child_ip
guest_trap_child:
	syscall
guest_trap_child_ip:
	ud2

	/*
	 * Signal entries, every signal blocked: let our own calls through, our FS base, our stack,
	 * then C; and the way back. rdi, rsi, rdx are the signal, siginfo and ucontext.
	 */
	.macro signal_entry name, function
	.globl \name
	.type \name, @function
\name:
	movb $0, guest_selector(%rip)
	rdfsbase %rax
	mov guest_host_fs(%rip), %rcx
	wrfsbase %rcx
	mov %rsp, %rcx
	lea guest_stack(%rip), %rsp
	add $GUEST_STACK_SIZE, %rsp
	push %rcx
	push %rax
	call \function			/* returns the signal frame to leave through */
	pop %rcx
	lea 8(%rax), %rsp
	wrfsbase %rcx
	movb $1, guest_selector(%rip)
	jmp guest_restorer
	.endm

	.set GUEST_STACK_SIZE, 512 * 1024
	signal_entry guest_sigsys_entry, guest_sigsys
	signal_entry guest_fault_entry, guest_fault

	/*
	 * guest_enter(frame): begin the program as if returning from a signal: the kernel sets all
	 * registers, an initial FPU, the signal mask and the alternate stack. Never returns.
	 */
	.globl guest_enter
guest_enter:
	mov %rdi, %rsp
	xor %eax, %eax
	wrfsbase %rax
	wrgsbase %rax
	movb $1, guest_selector(%rip)
	jmp guest_restorer

	.bss
	.globl guest_selector, guest_host_fs
	.p2align 6
guest_selector:
	.zero 8
guest_host_fs:
	.zero 8
	.globl guest_stack
	.p2align 12
guest_stack:
	.zero 512 * 1024

	.section .note.GNU-stack, "", @progbits
