# Calls run(...) of a program of the native engine on the bare machine that rom.s made ready.
# At DATA lie the nine arguments and what they point to; all of it goes back to the disk when run has
# returned, and the emulator is told to end. After a fault it ends without being told.
 .include "disk.s"
 .section .start, "ax"
 .globl _start
_start:
 movl $PROGRAM - 512, %esp         # the stack is below the program, and below what rom.s keeps
 movl $0xc0000100, %ecx            # FS base: errno lies before it
 movl $threads, %eax
 xorl %edx, %edx
 wrmsr
 movl $__rela_iplt_start, %ebx     # functions that choose by processor
choose:
 cmpq $__rela_iplt_end, %rbx
 jae chosen
 call *16(%rbx)
 movq (%rbx), %rdx
 movq %rax, (%rdx)
 addq $24, %rbx
 jmp choose
chosen:
 movl $DATA, %ebx
 subq $32, %rsp
 movups 48(%rbx), %xmm0            # arguments 7 to 9 are on the stack
 movups %xmm0, (%rsp)
 movq 64(%rbx), %rax
 movq %rax, 16(%rsp)
 movq (%rbx), %rdi
 movq 8(%rbx), %rsi
 movq 16(%rbx), %rdx
 movq 24(%rbx), %rcx
 movq 32(%rbx), %r8
 movq 40(%rbx), %r9
 movabsq $run, %rax
 call *%rax
 cld
 movl $DATA, %esi
 movl $(DATA - PROGRAM) / 512 + 1, %ebx
back:
 ask_for_sector 0x30               # write
 movl $256, %ecx
 movw $0x1f0, %dx
 rep outsw
 incl %ebx
 cmpl PROGRAM - 512, %ebx
 jb back
 movl $goodbye, %esi
 movl $8, %ecx
 movw $0x8900, %dx
 rep outsb
 hlt

goodbye: .ascii "Shutdown"

# What programs and the library of mathematics want of the rest of the C library.
 .text
 .globl memcpy, memset, sched_yield, __stack_chk_fail, _dl_x86_get_cpu_features
memcpy:
 movq %rdi, %rax
 movq %rdx, %rcx
 rep movsb
 ret
memset:
 movq %rdi, %r8
 movl %esi, %eax
 movq %rdx, %rcx
 rep stosb
 movq %r8, %rax
 ret
sched_yield:
 xorl %eax, %eax
 ret
__stack_chk_fail:
 ud2
_dl_x86_get_cpu_features:
 movl $_dl_x86_cpu_features, %eax
 ret

 .section .tbss, "awT", @nobits
 .globl errno
errno:
 .skip 8

 .bss
 .globl _dl_x86_cpu_features
 .balign 64
_dl_x86_cpu_features:              # none: functions that choose by processor choose the oldest
 .skip 4096
threads:
 .skip 4096

 .section .note.GNU-stack, "", @progbits
