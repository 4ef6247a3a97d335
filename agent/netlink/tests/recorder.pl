# Runs in the guest (see `record`). DIRECTORY/cases has, for each case:
#
#     == NAME            the case begins; ipvsadm's and nft's tables are empty
#     COMMAND            prepares
#     $ COMMAND          is recorded, also if it fails
#
# In DIRECTORY/NAME.hex come the lines `> HEX` for each datagram to the kernel and `< HEX` for each from it. What every
# ipvsadm says first (the family's number, the version) is kept in cases of the name info* only.
use strict;
use warnings;
use Socket;

my ($directory) = @ARGV;
my %protocols = (12 => 'netfilter', 16 => 'generic');

system('ip link set lo up; ip link add nlmon0 type nlmon; ip link set nlmon0 up') == 0 or die 'no nlmon0';
open my $release, '<', '/proc/sys/kernel/osrelease' or die;
chomp(my $kernel = <$release>);
my %versions = (ipvsadm => qx(ipvsadm --version), nft => qx(nft --version));
s/^(\S+ v[\d.]+).*/$1/s for values %versions;

my ($name, @shown, @recorded);
open my $cases, '<', "$directory/cases" or die "no $directory/cases";
while (my $line = <$cases>) {
    chomp $line;
    if ($line =~ /^== (\S+)/) {
        save();
        ($name, @shown, @recorded) = ($1);
        system('ipvsadm -C; ipvsadm --stop-daemon master 2>/dev/null; ipvsadm --stop-daemon backup 2>/dev/null');
        system('nft flush ruleset');
    } elsif ($line =~ /^\$ (.*)/) {
        push @shown, $line;
        push @recorded, record($1);
    } elsif ($line =~ /^[^#]/) {
        push @shown, "  $line";
        system('sh', '-c', $line) == 0 or print "$name: $line: failed\n";
    }
}
save();

sub record {
    my ($command) = @_;
    # AF_PACKET, SOCK_RAW, ETH_P_ALL; nlmon0 by its index in a sockaddr_ll.
    socket(my $tap, 17, 3, unpack('S', pack('n', 3))) or die "socket: $!";
    open my $file, '<', '/sys/class/net/nlmon0/ifindex' or die;
    my $index = 0 + <$file>;
    bind($tap, pack('S n l S C C a8', 17, 3, $index, 0, 0, 0, '')) or die "bind: $!";
    setsockopt($tap, SOL_SOCKET, 33, 1 << 24) or die "SO_RCVBUFFORCE: $!";
    system('sh', '-c', "exec $command >/run/output 2>&1");
    my @lines;
    while (1) {
        my $from = recv($tap, my $bytes, 1 << 17, 0x40); # MSG_DONTWAIT
        last unless defined $from;
        my (undef, $protocol) = unpack('S n', $from);
        next unless $protocols{$protocol};
        next if $name !~ /^info/ && $protocol == 16 && prelude($bytes);
        push @lines, (unpack('x6 S', $bytes) & 1 ? '>' : '<') . ' ' . join(' ', unpack('H*', $bytes) =~ /.{1,8}/g);
    }
    # SOL_PACKET, PACKET_STATISTICS: what came and what was lost.
    my (undef, $lost) = unpack('L L', getsockopt($tap, 263, 6));
    print "$name: $command: $lost datagrams are lost\n" if $lost;
    return @lines;
}

# GETFAMILY or GET_INFO, or what has the sequence number and port of one: its answer or acknowledgement.
my %preludes;
sub prelude {
    my ($bytes) = @_;
    my ($type, $flags, $exchange, $command) = unpack('x4 S S a8 C', $bytes);
    $preludes{$exchange} = 1 if $flags & 1 && ($type == 16 || $command == 15);
    return $preludes{$exchange};
}

sub save {
    return unless defined $name;
    open my $out, '>', "$directory/$name.hex" or die "$name: $!";
    print $out "# Linux $kernel, ", join(', ', map { $versions{$_} } sort keys %versions), "\n";
    print $out "# $_\n" for @shown;
    print $out "$_\n" for @recorded;
    close $out or die;
    print "$name: ", scalar @recorded, " datagrams\n";
}
