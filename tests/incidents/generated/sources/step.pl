# A step in Perl: does what the lines of its job file say, one after the other.
use strict;
use warnings;
use Fcntl qw(:flock O_CREAT O_EXCL O_WRONLY);
use IO::Socket::INET;

$| = 1;
my (@held, @jobs);
sub pause { select(undef, undef, undef, $_[0] / 1000) }
sub slurp { open(my $f, '<', $_[0]) or die "$_[0]: $!\n"; local $/; my $t = <$f>; return $t // '' }
sub server {
    my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $_[0], Listen => 8, ReuseAddr => 1, Proto => 'tcp');
    die "bind: $@\n" unless $s;
    return $s;
}
my %op = (
    note => sub { open(my $f, '>', $_[0]) or die "$_[0]: $!\n"; print $f readlink('/proc/self'); close $f },
    work => sub { my $x = 0; for my $n (1 .. $_[0] * 15000) { $x += $n } },
    burn => sub { my ($u, $s); do { my $x = 0; $x += $_ for 1 .. 15000; ($u, $s) = times } until ($u + $s) * 1000 >= $_[0] },
    idle => sub { pause($_[0]) },
    read => sub { die "$_[0]: too short\n" if length(slurp($_[0])) < 1024 * ($_[1] // 0) },
    write => sub {
        my ($path, $kib, $ms) = @_;
        open(my $f, '>', $path) or die "$path: $!\n";
        for (1 .. 16) {
            my $text = "17,4,abc\n" x ($kib * 64 / 9 + 1);
            my $left = length $text;
            while ($left) { my $n = syswrite($f, $text, $left, length($text) - $left); die "$path: $!\n" unless defined $n; $left -= $n }
            pause($ms / 16);
        }
        close $f;
    },
    grow => sub { my ($mib, $ms) = @_; for (1 .. $mib) { push @held, 'x' x (1 << 20); pause($ms / $mib) } },
    ask => sub {
        my ($port, $ms) = @_;
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp') or die "connect: $@\n";
        syswrite($s, "get\n");
        my $ready = '';
        vec($ready, fileno($s), 1) = 1;
        die "no answer\n" unless select($ready, undef, undef, $ms / 1000);
        my $got = sysread($s, my $answer, 64);
        die "receive: $!\n" unless defined $got;
        die "answer: $answer\n" unless $answer =~ /^ok/;
    },
    listen => sub { push @held, server($_[0]) },
    serve => sub {
        my $s = server($_[0]);
        for (1 .. $_[1]) { my $c = $s->accept; sysread($c, my $x, 64); syswrite($c, "ok\n"); close $c }
    },
    run => sub { my $bad = system { $_[0] } @_; die "$_[0]: status $bad $!\n" if $bad },
    mkdir => sub { mkdir $_[0] or die "$_[0]: $!\n" },
    create => sub { sysopen(my $f, $_[0], O_CREAT | O_EXCL | O_WRONLY) or die "$_[0]: $!\n" },
    lock => sub { open(my $f, '>>', $_[0]) or die "$_[0]: $!\n"; flock($f, LOCK_EX | LOCK_NB) or die "$_[0]: $!\n"; push @held, $f },
    files => sub { my @f; for (1 .. $_[0]) { open(my $f, '<', $_[1]) or die "$_[1]: $!\n"; push @f, $f } },
    procs => sub {
        my @kids;
        for (1 .. $_[0]) {
            my $pid = fork() // die "fork: $!\n";
            exec 'sleep', $_[1] / 1000 unless $pid;
            push @kids, $pid;
        }
        waitpid($_, 0) for @kids;
    },
    crash => sub { if ($_[0] eq 'segv') { my $x = unpack('p', pack('J', 8)) } require POSIX; POSIX::abort() },
    exit => sub { print STDERR "stop\n"; exit $_[0] },
    fifo => sub { slurp($_[0]) },
    sprinkle => sub { for my $n (1 .. $_[1]) { open(my $f, '>', "$_[0]/part-$n") or die "part-$n: $!\n" } },
    kill => sub { kill($_[1], slurp($_[0]) + 0) or die "kill: $!\n" },
    polite => sub { require POSIX; $SIG{TERM} = sub { POSIX::_exit(0) } },
    deaf => sub { $SIG{TERM} = 'IGNORE' },
    once => sub { unless (-e $_[0]) { open(my $f, '>', $_[0]); die "not yet\n" } },
    check => sub { die "$_[0]: $_[1]\n" if index(slurp($_[0]), $_[1]) >= 0 },
    remove => sub { unlink $_[0] or die "$_[0]: $!\n" },
    say => sub { print "17,4,abcdefgh\n" x 73 for 1 .. $_[0] },
);
open(my $file, '<', $ARGV[0]) or die "$ARGV[0]: $!\n";
push @jobs, [split] while <$file>;
close $file;
for my $job (@jobs) { my ($name, @words) = @$job; $op{$name}->(@words) }
