# shellcheck shell=bash
# What several image scripts need to know about kernels; read with `.`.

# boot_kernel VMLINUZ OUT: writes the kernel that QEMU starts directly.
# QEMU enters an ELF kernel through its PVH note, and the guest then need not unpack itself, which costs half a second
# without hardware virtualization. The payload of Debian's cloud kernel is an LZ4 legacy stream behind the setup code.
boot_kernel() {
    local offset
    offset=$(grep -aboP -m1 '\x02\x21\x4c\x18' "$1" | head -n 1 | cut -d: -f1 || true)
    if [ -n "$offset" ]; then
        # lz4 complains about the relocations behind the stream; whether it got the kernel is seen below.
        tail -c "+$((offset + 1))" "$1" | lz4 -d -q - - > "$2" 2>/dev/null || true
    fi
    if [ "$(head -c 4 "$2" 2>/dev/null | od -An -tx1 | tr -d ' ')" != 7f454c46 ]; then
        echo "the kernel is not packed with LZ4: taking it as it is, booting takes a little longer" >&2
        cp "$1" "$2"
    fi
    chmod 0644 "$2"
}
