package jobs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestSecure checks which addresses are safe to connect to and to listen at.
func TestSecure(t *testing.T) {
	named := Access{User: "u", Password: "p"}
	for _, test := range []struct {
		address string
		access  Access
		safe    bool
	}{
		{"nats://127.0.0.1:4222", Access{}, true},
		{"nats://localhost:4222", Access{}, true},
		{"nats://[::1]:4222", Access{}, true},
		{"nats://10.0.0.1:4222", Access{}, false},
		{"nats://10.0.0.1:4222", named, false},
		{"tls://10.0.0.1:4222", Access{}, false},
		{"tls://10.0.0.1:4222", named, true},
		{"tls://10.0.0.1:4222", Access{NKey: "seed"}, true},
		{"tls://u:p@broker.example.org:4222", Access{}, true},
		{"tls://u@broker.example.org:4222", Access{}, false},
		{"nats://localhost.example.org", named, false},
	} {
		t.Run(test.address, func(t *testing.T) {
			err := test.access.check(test.address)
			if (err == nil) != test.safe || err != nil && !errors.Is(err, ErrInsecure) {
				t.Errorf("error %v, want safe %v", err, test.safe)
			}
		})
	}
	for _, address := range []string{"0.0.0.0:0", "192.0.2.1:0", ":0"} {
		if b, err := StartBroker(address, t.TempDir(), Access{}); !errors.Is(err, ErrInsecure) {
			t.Errorf("listen at %s: %v, error %v", address, b, err)
		}
	}
	for _, address := range []string{"", "127.0.0.1", "127.0.0.1:notaport"} {
		if _, err := StartBroker(address, t.TempDir(), Access{}); err == nil {
			t.Errorf("listen at %q: no error", address)
		}
	}
}

// certificate writes a certificate of 127.0.0.1 and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS checks that a broker with a certificate serves who has the password and trusts it.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	b, err := StartBroker("127.0.0.1:0", t.TempDir(), Access{User: "u", Password: "p", Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	for _, test := range []struct {
		name   string
		access Access
		ok     bool
	}{
		{"right", Access{User: "u", Password: "p", CA: cert}, true},
		{"wrong password", Access{User: "u", Password: "q", CA: cert}, false},
		{"nobody", Access{CA: cert}, false},
		{"not trusted", Access{User: "u", Password: "p"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			wait := time.Second
			if test.ok {
				wait = time.Minute
			}
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			c, err := Connect(b.URL(), test.access)
			if err == nil {
				defer c.Close()
				_, err = OpenQueue(ctx, c, 1)
			}
			if (err == nil) != test.ok {
				t.Errorf("error %v, want ok %v", err, test.ok)
			}
		})
	}
}

// TestUnreachable checks which errors of a broker pass when one waits: a cluster without a leader is
// one, a broker without JetStream is not.
func TestUnreachable(t *testing.T) {
	noLeader := &jetstream.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{noLeader, true},
		{fmt.Errorf("work: %w", noLeader), true},
		{nats.ErrNoResponders, true},
		{nats.ErrTimeout, true},
		{jetstream.ErrJetStreamNotEnabled, false},
		{jetstream.ErrJetStreamNotEnabledForAccount, false},
		{&jetstream.APIError{Code: 503, ErrorCode: jetstream.JSErrCodeJetStreamNotEnabled}, false},
		{&jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeBadRequest}, false},
		{errors.New("another"), false},
		{nil, false},
	} {
		if got := unreachable(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
