#!/bin/sh
# The processes of this PID namespace, for a host without procps.
echo "  PID USER     COMMAND"
for directory in /proc/[0-9]*; do
    pid=${directory#/proc/}
    uid=
    name=
    while read -r key value _; do
        case $key in
        Name:) name=$value ;;
        Uid:) uid=$value ;;
        esac
    done 2>/dev/null <"$directory/status" || continue
    [ -n "$name" ] || continue
    user=$uid
    while IFS=: read -r login _ number _; do
        [ "$number" = "$uid" ] && user=$login && break
    done </etc/passwd
    line=$(tr '\0' ' ' 2>/dev/null <"$directory/cmdline")
    printf '%5d %-8s %s\n' "$pid" "$user" "${line:-[$name]}"
done
