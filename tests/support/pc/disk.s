# Asks the first disk for sector ebx with a command, and waits until it has or takes the 256 words.
 .macro ask_for_sector command
 movw $0x1f7, %dx
1:
 inb %dx, %al
 testb $0x80, %al                  # busy
 jnz 1b
 movl %ebx, %eax                   # the number, in four parts, and that it is one sector
 shrl $24, %eax
 orb $0xe0, %al
 movw $0x1f6, %dx
 outb %al, %dx
 movb $1, %al
 movw $0x1f2, %dx
 outb %al, %dx
 movl %ebx, %eax
 incl %edx
 outb %al, %dx
 shrl $8, %eax
 incl %edx
 outb %al, %dx
 shrl $8, %eax
 incl %edx
 outb %al, %dx
 movb $\command, %al
 movw $0x1f7, %dx
 outb %al, %dx
2:
 inb %dx, %al
 andb $0x88, %al                   # neither busy nor without data
 cmpb $0x08, %al
 jne 2b
 .endm
