#!/bin/sh
# Memory in KiB, for a host without procps.
while read -r key value _; do
    case $key in
    MemTotal:) total=$value ;;
    MemFree:) free=$value ;;
    MemAvailable:) available=$value ;;
    Cached:) cached=$value ;;
    SwapTotal:) swap=$value ;;
    SwapFree:) swapfree=$value ;;
    esac
done </proc/meminfo
echo "              total        used        free  buff/cache   available"
printf 'Mem:    %11d %11d %11d %11d %11d\n' "$total" "$((total - available))" "$free" "$cached" "$available"
printf 'Swap:   %11d %11d %11d\n' "$swap" "$((swap - swapfree))" "$swapfree"
