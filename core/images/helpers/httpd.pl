#!/usr/bin/perl
# A small static web server with the flags of busybox httpd: -f foreground, -p [ADDRESS:]PORT, -h DIRECTORY, -v log.
use strict;
use warnings;
use Socket;
use POSIX ();

my ($foreground, $verbose, $address, $port, $home) = (0, 0, "0.0.0.0", 80, ".");
while (@ARGV) {
    my $flag = shift @ARGV;
    if ($flag eq "-f") { $foreground = 1 }
    elsif ($flag =~ /^-v+$/) { $verbose = 1 }
    elsif ($flag =~ /^-fv+$|^-v+f$/) { $foreground = $verbose = 1 }
    elsif ($flag eq "-p") {
        my $where = shift @ARGV;
        defined $where && $where =~ /^(?:(.*):)?(\d+)$/ or die "httpd: -p needs [ADDRESS:]PORT\n";
        $address = $1 if defined $1 && length $1;
        $port    = $2;
    }
    elsif ($flag eq "-h") { $home = shift @ARGV; defined $home or die "httpd: -h needs a directory\n" }
    else { die "usage: httpd [-fv] [-p [ADDRESS:]PORT] [-h DIRECTORY]\n" }
}
chdir $home or die "httpd: can't change directory to '$home': $!\n";
my $numeric = inet_aton($address) or die "httpd: bad address '$address'\n";
socket(my $server, PF_INET, SOCK_STREAM, 6) or die "httpd: socket: $!\n";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, pack("l", 1));
bind($server, sockaddr_in($port, $numeric)) or die "httpd: bind: $!\n";
listen($server, 64) or die "httpd: listen: $!\n";
unless ($foreground) {
    my $child = fork;
    defined $child or die "httpd: fork: $!\n";
    POSIX::_exit(0) if $child;
    POSIX::setsid();
    open STDIN, "<", "/dev/null";
    open STDOUT, ">", "/dev/null";
    open STDERR, ">", "/dev/null";
}
$SIG{CHLD} = "IGNORE";
$SIG{PIPE} = "IGNORE";
# as PID 1 of a container, signals without a handler would be ignored
$SIG{TERM} = $SIG{INT} = sub { POSIX::_exit(0) };

my %types = (
    html => "text/html", htm => "text/html", txt => "text/plain", css => "text/css", js => "text/javascript",
    json => "application/json", png => "image/png", jpg => "image/jpeg", svg => "image/svg+xml",
);
while (1) {
    my $peer = accept(my $client, $server) or next;
    my $child = fork;
    if (!defined $child) { close $client; next }
    if ($child) { close $client; next }
    close $server;
    $SIG{ALRM} = sub { POSIX::_exit(1) };
    alarm 60;
    my $who = inet_ntoa((sockaddr_in($peer))[1]);
    binmode $client;
    answer($client, $who);
    close $client;
    POSIX::_exit(0);
}

sub answer {
    my ($client, $who) = @_;
    my $request = <$client>;
    return unless defined $request;
    while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n$/ }
    my ($method, $target) = $request =~ m{^(GET|HEAD) (\S+)};
    my ($status, $type, $body) = ("400 Bad Request", "text/plain", "bad request\n");
    if (defined $target) {
        $target =~ s/[?#].*//s;
        $target =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
        my $path = ".$target";
        if ($target !~ m{^/} || $target =~ m{(?:^|/)\.\.(?:/|$)} || $target =~ /\0/) {
            ($status, $body) = ("403 Forbidden", "forbidden\n");
        }
        else {
            $path .= "/index.html" if -d $path;
            if (-f $path && open my $file, "<", $path) {
                binmode $file;
                local $/;
                $body   = <$file>;
                $body   = "" unless defined $body;
                $status = "200 OK";
                my ($suffix) = $path =~ /\.([a-z]+)$/;
                $type = $types{ $suffix || "" } || "application/octet-stream";
            }
            else { ($status, $body) = ("404 Not Found", "not found\n") }
        }
    }
    my $head = "HTTP/1.0 $status\r\nContent-Type: $type\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n";
    send_all($client, ($method || "") eq "HEAD" ? $head : $head . $body);
    if ($verbose) {
        $request =~ s/[^\x20-\x7e]//g;
        print STDERR "$who: $request: $status\n";
    }
}

sub send_all {
    my ($client, $data) = @_;
    my $at = 0;
    while ($at < length $data) {
        my $sent = syswrite $client, $data, 65536, $at;
        last unless defined $sent;
        $at += $sent;
    }
}
