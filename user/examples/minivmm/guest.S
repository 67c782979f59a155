/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest: 64-bit code without an operating system that does the steps of
 * guest.h forever. The host copies it into the guest's memory and starts it in
 * long mode with RBP at the state block.
 *
 * Nearly all its state is in registers, on purpose: if one of them is not put
 * back by a restore, the guest notices, or its memory is not what the host's
 * model says.
 *
 *	rbx	steps done		xmm15	rbx and r12 once more
 *	r12	the generator, x	xmm1, 2	the content while a page is filled
 *	r13	checksum		r8	page p
 *	r14	the table		r15	return address: there is no stack
 */
#include "guest.h"

	.section .rodata.guest, "a", @progbits
	.globl	guest_code, guest_code_end
	.type	guest_code, @object
	.type	guest_code_end, @object
	.p2align 4
guest_code:
	mov	STATE_STEP(%rbp), %rbx
	mov	STATE_X(%rbp), %r12
	mov	STATE_CHECKSUM(%rbp), %r13
	mov	STATE_TABLE(%rbp), %r14
	movq	%rbx, %xmm15
	movq	%r12, %xmm0
	movlhps	%xmm0, %xmm15

step:
	/* Do both copies of the counter and the generator still agree? */
	movq	%xmm15, %rax
	movhlps	%xmm15, %xmm0
	movq	%xmm0, %rcx
	xor	%rbx, %rax
	xor	%r12, %rcx
	or	%rcx, %rax
	jz	1f
	mov	$-1, %rsi
	lea	1f(%rip), %r15
	jmp	error
1:
	/* Which page comes next? */
	mov	$GUEST_LCG_A, %rax
	imul	%rax, %r12
	mov	$GUEST_LCG_C, %rax
	add	%rax, %r12
	mov	%r12, %r8
	shr	$32, %r8
	imul	STATE_PAGES(%rbp), %r8
	shr	$32, %r8

	mov	%r8, %rsi
	lea	1f(%rip), %r15
	jmp	check
1:	mov	%rbx, %rax
	xor	%edx, %edx
	divq	STATE_PAGES(%rbp)
	mov	%rdx, %rsi
	lea	1f(%rip), %r15
	jmp	check
1:
	/* Fill page r8; rdx becomes its entry in the table */
	inc	%rbx
	movq	%rbx, %xmm15
	movq	%r12, %xmm0
	movlhps	%xmm0, %xmm15

	mov	%r8, %rsi
	lea	1f(%rip), %r15
	jmp	address
1:	pxor	%xmm1, %xmm1
	pxor	%xmm2, %xmm2
	mov	%rbx, %rdx
	test	$(7 << 16), %r12d
	jnz	1f
	bts	$GUEST_ZEROED_BIT, %rdx
	jmp	2f
1:	mov	$GUEST_MIX, %rax
	imul	%rbx, %rax
	add	%r8, %rax
	mov	$GUEST_STRIDE, %rcx
	movq	%rax, %xmm1
	add	%rcx, %rax
	movq	%rax, %xmm0
	movlhps	%xmm0, %xmm1
	add	%rcx, %rcx
	movq	%rcx, %xmm2
	movlhps	%xmm2, %xmm2
2:	mov	$(GUEST_PAGE / 16), %ecx
3:	movdqa	%xmm1, (%rdi)
	paddq	%xmm2, %xmm1
	add	$16, %rdi
	dec	%ecx
	jnz	3b
	mov	%rdx, (%r14, %r8, 8)

	/* The step counts from the last of these stores on */
	mov	%r12, STATE_X(%rbp)
	mov	%r13, STATE_CHECKSUM(%rbp)
	mov	%rbx, STATE_STEP(%rbp)

	test	$(GUEST_REPORT - 1), %ebx
	jnz	step
	mov	$GUEST_PORT, %edx
	mov	%ebx, %eax
	outl	%eax, %dx
	jmp	step

/* address: rdi = where page rsi is; uses rax */
address:
	mov	%rsi, %rdi
	shl	$12, %rdi
	cmp	$GUEST_LOW_PAGES, %rsi
	jb	1f
	add	$GUEST_HOLE, %rdi
	cmp	STATE_HIGH_PAGE(%rbp), %rsi
	jb	1f
	add	STATE_HIGH_SHIFT(%rbp), %rdi
1:	jmp	*%r15

/* check: is page rsi what the table says? Adds it to the checksum. */
check:
	mov	%r15, %r11
	lea	1f(%rip), %r15
	jmp	address
1:	mov	%r11, %r15
	xor	%edx, %edx		/* rdx: the word it must hold */
	xor	%r9d, %r9d		/* r9: from that to the next word */
	mov	(%r14, %rsi, 8), %rax
	test	%rax, %rax
	jle	1f			/* never written, or with zeroes */
	mov	$GUEST_MIX, %rdx
	imul	%rax, %rdx
	add	%rsi, %rdx
	mov	$GUEST_STRIDE, %r9
1:	xor	%r10d, %r10d		/* r10: sum of the words */
	xor	%r11d, %r11d		/* r11: bits that are wrong */
	mov	$(GUEST_PAGE / 8), %ecx
2:	mov	(%rdi), %rax
	add	%rax, %r10
	xor	%rdx, %rax
	or	%rax, %r11
	add	%r9, %rdx
	add	$8, %rdi
	dec	%ecx
	jnz	2b
	rol	$7, %r13
	add	%r10, %r13
	test	%r11, %r11
	jnz	error
	jmp	*%r15

/* error: page rsi is wrong, or a register if that is -1 */
error:
	incq	STATE_ERRORS(%rbp)
	mov	%rbx, STATE_BAD_STEP(%rbp)
	mov	%rsi, STATE_BAD_PAGE(%rbp)
	jmp	*%r15
guest_code_end:

	.section .note.GNU-stack, "", @progbits
