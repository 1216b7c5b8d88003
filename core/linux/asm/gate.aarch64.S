// The end of a container's init without its interpreter, see gate.x86_64.S
    .set machine, 183
    .set page, 0x10000
    .include "elf.inc"

start:
    mov x20, sp
    adr x21, end
    ldp w22, w23, [x21]         // go, said
    mov x0, #4                  // prctl(PR_SET_DUMPABLE, 0): until execve nobody of this uid looks into it
    mov x1, #0
    mov x8, #167
    svc #0
    tbnz w22, #31, released
    mov x0, #15                 // prctl(PR_SET_NAME, name)
    adr x1, name
    mov x8, #167
    svc #0
    adr x24, fatal
handler:
    ldrb w0, [x24], #1          // rt_sigaction(signal, action, NULL, 8)
    cbz w0, wait
    adr x1, action
    mov x2, #0
    mov x3, #8
    mov x8, #134
    svc #0
    b handler
wait:
    sub sp, sp, #16
    mov w0, w22                 // read(go, &byte, 1)
    mov x1, sp
    mov x2, #1
    mov x8, #63
    svc #0
    cmp w0, #1
    b.ne over                   // executed by the container itself, without our descriptors
    mov w0, w22                 // fcntl(go, F_SETFD, FD_CLOEXEC)
    mov x1, #2
    mov x2, #1
    mov x8, #25
    svc #0
released:
    mov w0, w23                 // fcntl(said, F_SETFD, FD_CLOEXEC)
    mov x1, #2
    mov x2, #1
    mov x8, #25
    svc #0
    cbnz w0, over
    mov w25, #0
    ldr w1, [x21, #12]
    cbz w1, execute
    add x2, x21, #16            // struct sock_fprog
    stp x1, x2, [sp, #-16]!
    mov x0, #1                  // seccomp(SECCOMP_SET_MODE_FILTER, flags, fprog)
    ldr w1, [x21, #8]
    mov x2, sp
    mov x8, #277
    svc #0
    cbnz w0, failed
execute:
    mov w25, #1
    ldr x3, [x20]
    ldr x0, [x20, #8]           // execve(argv[0], argv + 1, envp)
    add x1, x20, #16
    add x2, x1, x3, lsl #3
    mov x8, #221
    svc #0
failed:
    neg w0, w0
    sub sp, sp, #32
    mov w1, #'X'
    strb w1, [sp, #3]
    mov w1, #0x08000000
    stp w1, w0, [sp, #4]
    str w25, [sp, #12]
    mov w0, w23                 // write(said, frame, 13)
    add x1, sp, #3
    mov x2, #13
    mov x8, #64
    svc #0
over:
    mov w0, #-127               // exit_group(1)
ended:
    add w0, w0, #128            // killed by a signal: as a shell says it
    mov x8, #94
    svc #0
    .balign 8
action:
    .quad base + ended - file, 0x4000000, base + ended - file, 0
fatal:
    .byte 1, 2, 3, 10, 12, 14, 15, 0
name:
    .asciz "pyctr-init"
    .balign 8
end:
