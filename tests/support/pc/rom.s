# Stands in for the BIOS of an emulated PC: from reset to 64-bit code with AVX-512 on, in the place
# of a boot loader and an operating system. It lies in the last 64 KiB below 4 GiB. The first sector of
# the first disk says how many there are; those behind it are read to PROGRAM, and the program is called.
# Memory is mapped as it lies, in pages of 1 GiB; the tables never change, so they are in the ROM too
# (their accessed and dirty bits are set already).
 .include "disk.s"
 .text
base:
 .quad 0xffff1023                  # the first 512 GiB: the table below; present, writable
 .org 0x1000
 .quad 0x000000e3, 0x400000e3, 0x800000e3, 0xc00000e3
 .org 0x1100
 .quad 0                           # selector 0
 .quad 0x00af9b000000ffff          # selector 8: 64-bit code
 .quad 0x00cf93000000ffff          # selector 16: data
descriptors:
 .word 23
 .long 0xffff1100

 .code16
start:
 cli
 lgdtl %cs:(descriptors - base)
 movl $0x40620, %eax               # PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
 movl %eax, %cr4
 movl $0xffff0000, %eax
 movl %eax, %cr3
 movl $0xc0000080, %ecx            # EFER: long mode
 movl $0x100, %eax
 xorl %edx, %edx
 wrmsr
 movl $0x80000033, %eax            # PG, NE, ET, MP, PE
 movl %eax, %cr0
 ljmpl $8, $0xffff1300

 .org 0x1300
 .code64
 movl $16, %eax
 movl %eax, %ss
 movl %eax, %ds
 movl %eax, %es
 xorl %ecx, %ecx                   # XCR0: x87, SSE, AVX, the three states of AVX-512
 xorl %edx, %edx
 movl $0xe7, %eax
 xsetbv
 cld
 movl $PROGRAM - 512, %edi
 xorl %ebx, %ebx
sector:
 ask_for_sector 0x20               # read
 movl $256, %ecx
 movw $0x1f0, %dx
 rep insw
 incl %ebx
 cmpl PROGRAM - 512, %ebx
 jb sector
 movl $PROGRAM, %eax
 jmp *%rax

 .org 0xfff0                       # the processor begins here
 .code16
 jmp start
 .org 0x10000
