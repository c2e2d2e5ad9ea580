// Package jobsrun is what the verbs of jobs do: it connects to brokers, starts workers, makes the
// images of jobs and collects them. The verbs themselves are flags and printing.
package jobsrun

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/jobs"
)

// Broker is the flags that say how a broker is reached.
type Broker struct {
	NATS     string `name:"nats" help:"Address of a NATS broker with JetStream, several separated by commas; beyond this machine tls://HOST:PORT, with credentials. Default: nats://${broker}." placeholder:"URL"`
	User     string `help:"User of the broker. Default: none." placeholder:"NAME"`
	Password string `name:"password-file" help:"File with the user's password. Default: none." placeholder:"FILE"`
	NKey     string `name:"nkey" help:"File with the seed of an nkey, instead of user and password. Default: none." placeholder:"FILE"`
	CA       string `name:"tls-ca" help:"File of the authorities that sign the broker's certificate. Default: the system's." placeholder:"FILE"`
	Cert     string `name:"tls-cert" help:"File of this side's certificate. Default: none." placeholder:"FILE"`
	Key      string `name:"tls-key" help:"File of its key. Default: none." placeholder:"FILE"`
	Replicas int    `help:"Copies that a cluster of brokers keeps." default:"1"`
}

// DefaultAddress is where a broker listens.
const DefaultAddress = "127.0.0.1:4222"

// connectWait bounds how long verbs that only ask wait for the broker.
const connectWait = 10 * time.Second

// Access returns who this is to the broker.
func (f *Broker) Access() (jobs.Access, error) {
	a := jobs.Access{User: f.User, NKey: f.NKey, CA: f.CA, Cert: f.Cert, Key: f.Key}
	if f.Password != "" {
		text, err := regularfile.Read(f.Password, regularfile.MaxText)
		if err != nil {
			return a, fmt.Errorf("password: %w", err)
		}
		a.Password = strings.TrimSpace(string(text))
	}
	return a, nil
}

// Queue connects to the broker and returns its jobs, and what closes the connection. It waits for
// the broker as long as ctx allows.
func (f *Broker) Queue(ctx context.Context) (*jobs.Queue, func(), error) {
	access, err := f.Access()
	if err != nil {
		return nil, nil, err
	}
	if f.NATS == "" {
		f.NATS = "nats://" + DefaultAddress
	}
	conn, err := jobs.Connect(f.NATS, access)
	if err != nil {
		return nil, nil, err
	}
	q, err := jobs.OpenQueue(ctx, conn, f.Replicas)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return q, conn.Close, nil
}

// With calls do with the jobs of the broker.
func (f *Broker) With(ctx context.Context, do func(q *jobs.Queue) error) error {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	q, closeQueue, err := f.Queue(ctx)
	if err != nil {
		return err
	}
	defer closeQueue()
	return do(q)
}

// WithJob calls do with the job of an identifier, of which the beginning is enough.
func (f *Broker) WithJob(ctx context.Context, id string, do func(q *jobs.Queue, j *jobs.Job) error) error {
	return f.With(ctx, func(q *jobs.Queue) error {
		j, err := q.Job(ctx, id)
		if err != nil {
			return err
		}
		return do(q, j)
	})
}

// flags are those of a process on this machine that reaches the same broker.
func (f *Broker) flags() []string {
	args := []string{"--nats", f.NATS}
	for _, flag := range [][2]string{
		{"--user", f.User},
		{"--password-file", f.Password},
		{"--nkey", f.NKey},
		{"--tls-ca", f.CA},
	} {
		if flag[1] != "" {
			args = append(args, flag[:]...)
		}
	}
	return args
}
