package jobs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Access is how a broker is reached, and by whom. Beyond this machine both TLS and a user with a
// password, or an nkey, are needed.
type Access struct {
	User, Password string
	NKey           string // file with the seed of an nkey
	CA             string // file of the authorities that the broker's certificate is of; "": the system's
	Cert, Key      string // files of a certificate and its key: of the broker, or of a client
}

// named reports whether the other side can tell who this is.
func (a Access) named() bool { return a.User != "" && a.Password != "" || a.NKey != "" }

// isLoopback reports whether an address or a name means this machine alone.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// Connect connects to the broker at one or more addresses, separated by commas. The connection is
// taken up again whenever it is lost, without end.
func Connect(addresses string, a Access) (*nats.Conn, error) {
	o, err := a.options(addresses)
	if err != nil {
		return nil, err
	}
	o.MaxReconnect = -1
	o.ReconnectWait = reconnectWait
	o.RetryOnFailedConnect = true
	c, err := o.Connect()
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w", redacted(addresses), err)
	}
	return c, nil
}

// options returns how the broker at one or more addresses is connected to. It reports addresses that
// are not safe to use, and files that cannot be used.
func (a Access) options(addresses string) (*nats.Options, error) {
	o := nats.GetDefaultOptions()
	for _, address := range strings.Split(addresses, ",") {
		if err := a.check(address); err != nil {
			return nil, err
		}
		o.Servers = append(o.Servers, strings.TrimSpace(address))
	}
	list := []nats.Option{
		nats.Name("tokencache"),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(3),
	}
	if a.User != "" {
		list = append(list, nats.UserInfo(a.User, a.Password))
	}
	if a.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(a.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey %s: %w", a.NKey, err)
		}
		list = append(list, option)
	}
	if a.CA != "" {
		list = append(list, nats.RootCAs(a.CA))
	}
	if a.Cert != "" {
		list = append(list, nats.ClientCert(a.Cert, a.Key))
	}
	for _, option := range list {
		if err := option(&o); err != nil {
			return nil, fmt.Errorf("broker %s: %w", redacted(addresses), err)
		}
	}
	return &o, nil
}

const reconnectWait = 250 * time.Millisecond

// ErrInsecure reports a connection beyond this machine without TLS or without credentials.
var ErrInsecure = errors.New("beyond this machine a connection needs TLS and credentials")

// check reports an address that is not safe to use.
func (a Access) check(address string) error {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" {
		return fmt.Errorf("broker %s: want an address such as nats://127.0.0.1:4222", redacted(address))
	}
	password, _ := u.User.Password()
	if !isLoopback(u.Hostname()) && (u.Scheme != "tls" || !a.named() && password == "") {
		return fmt.Errorf("broker %s: %w: give an address tls://HOST:PORT", u.Redacted(), ErrInsecure)
	}
	return nil
}

// redacted returns addresses without passwords.
func redacted(addresses string) string {
	list := strings.Split(addresses, ",")
	for i, address := range list {
		if u, err := url.Parse(address); err == nil {
			list[i] = u.Redacted()
		}
	}
	return strings.Join(list, ",")
}

// Broker is a NATS server within this process.
type Broker struct{ server *server.Server }

// startWait bounds how long a broker takes to read its store.
const startWait = time.Minute

// StartBroker starts a broker that listens at address, host:port, and keeps its streams in the
// folder store, each message on the disk before it is confirmed.
func StartBroker(address, store string, a Access) (*Broker, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	port, err := net.LookupPort("tcp", text)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	if !isLoopback(host) && (a.Cert == "" || a.User == "" || a.Password == "") {
		return nil, fmt.Errorf("listen at %s: %w: give a certificate, its key, a user and a password", address, ErrInsecure)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{
		ServerName: "tokencache",
		Host:       host,
		Port:       port,
		JetStream:  true,
		StoreDir:   store,
		SyncAlways: true,
		NoSigs:     true,
		NoLog:      true,
		Username:   a.User,
		Password:   a.Password,
	}
	if a.Cert != "" {
		o.TLSConfig, err = server.GenTLSConfig(&server.TLSConfigOpts{CertFile: a.Cert, KeyFile: a.Key})
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", a.Cert, err)
		}
		o.TLSConfig.MinVersion = tls.VersionTLS13
		o.TLS = true
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	go s.Start()
	if !s.ReadyForConnections(startWait) {
		s.Shutdown()
		return nil, fmt.Errorf("listen at %s: the broker does not answer: is the address in use?", address)
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("broker: its store %s cannot be used", store)
	}
	return &Broker{s}, nil
}

// URL is the address for clients.
func (b *Broker) URL() string { return b.server.ClientURL() }

// Stop ends the broker and waits until its store is closed.
func (b *Broker) Stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
