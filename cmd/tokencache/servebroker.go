package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/serve"
)

// brokerFlags say which broker's jobs the server shows. They are those of jobsrun.Broker under names
// of their own, as the server has a certificate and users of its own.
type brokerFlags struct {
	NATS         string `name:"nats" env:"TOKENCACHE_NATS" help:"Address of a NATS broker, several separated by commas, whose jobs the page, GET /v1/queue and the metrics show; beyond this machine tls://HOST:PORT, with credentials. Nothing is changed there. Default: none." placeholder:"URL"`
	NATSUser     string `name:"nats-user" env:"TOKENCACHE_NATS_USER" help:"User of the broker. Default: none." placeholder:"NAME"`
	NATSPassword string `name:"nats-password-file" env:"TOKENCACHE_NATS_PASSWORD_FILE" help:"File with the user's password. Default: none." placeholder:"FILE"`
	NATSNKey     string `name:"nats-nkey" env:"TOKENCACHE_NATS_NKEY" help:"File with the seed of an nkey, instead of user and password. Default: none." placeholder:"FILE"`
	NATSCA       string `name:"nats-tls-ca" env:"TOKENCACHE_NATS_TLS_CA" help:"File of the authorities that sign the broker's certificate. Default: the system's." placeholder:"FILE"`
	NATSCert     string `name:"nats-tls-cert" env:"TOKENCACHE_NATS_TLS_CERT" help:"File of the server's certificate for the broker. Default: none." placeholder:"FILE"`
	NATSKey      string `name:"nats-tls-key" env:"TOKENCACHE_NATS_TLS_KEY" help:"File of its key. Default: none." placeholder:"FILE"`
}

// viewer returns what looks at the broker, nil if none is named. It does not connect yet.
func (f *brokerFlags) viewer() (*jobs.Viewer, error) {
	switch others := *f; {
	case f.NATS == "":
		if others != (brokerFlags{}) {
			return nil, errors.New("--nats-user, --nats-password-file, --nats-nkey and --nats-tls-*: give --nats too")
		}
		return nil, nil
	case (f.NATSCert == "") != (f.NATSKey == ""):
		return nil, errors.New("give --nats-tls-cert and --nats-tls-key, or neither")
	case (f.NATSUser == "") != (f.NATSPassword == ""):
		return nil, errors.New("give --nats-user and --nats-password-file, or neither")
	}
	b := jobsrun.Broker{
		User:     f.NATSUser,
		Password: f.NATSPassword,
		NKey:     f.NATSNKey,
		CA:       f.NATSCA,
		Cert:     f.NATSCert,
		Key:      f.NATSKey,
	}
	access, err := b.Access()
	if err != nil {
		return nil, fmt.Errorf("--nats: %w", err)
	}
	v, err := jobs.NewViewer(f.NATS, access)
	if err != nil {
		return nil, fmt.Errorf("--nats: %w", err)
	}
	return v, nil
}

const (
	// maxShown bounds the jobs that the server shows: a broker keeps those that have ended.
	maxShown = 100
	// maxCauses and maxCause bound the causes of failures of a job, and the characters of each.
	maxCauses, maxCause = 10, 500
)

// brokerView returns what tells the server what a broker has.
func brokerView(viewer *jobs.Viewer) func(context.Context) (*serve.BrokerView, error) {
	return func(ctx context.Context) (*serve.BrokerView, error) {
		seen, err := viewer.Look(ctx)
		if err != nil {
			return nil, err
		}
		return shown(seen), nil
	}
}

// shown returns what the server shows of a broker: open jobs first, then those that ended last.
// Arguments of jobs, which may have prompts, and their stores are left out.
func shown(seen *jobs.View) *serve.BrokerView {
	var open, ended []jobs.JobView
	for _, j := range seen.Jobs {
		if j.Job.State == jobs.Open {
			open = append(open, j)
		} else {
			ended = append(ended, j)
		}
	}
	slices.SortStableFunc(ended, func(a, b jobs.JobView) int { return b.Status.At.Compare(a.Status.At) })
	v := &serve.BrokerView{Total: len(seen.Jobs)}
	for _, j := range append(open, ended...)[:min(len(seen.Jobs), maxShown)] {
		v.Jobs = append(v.Jobs, brokerJob(j))
	}
	for _, w := range seen.Workers {
		v.Workers = append(v.Workers, brokerWorker(w))
	}
	return v
}

func brokerJob(j jobs.JobView) serve.BrokerJob {
	s := j.Status
	shown := serve.BrokerJob{
		ID:       j.Job.ID,
		Kind:     "generate",
		State:    string(s.State),
		Images:   s.Images,
		Made:     s.Made,
		Shards:   s.Units,
		Done:     s.Done,
		SetAside: len(s.SetAside),
		Workers:  s.Workers,
		Rate:     s.Rate,
		Left:     s.Left,
		Failures: brokerFailures(s),
	}
	if j.Job.Tasks != nil {
		shown.Kind = j.Job.Tasks.Kind
	}
	if !s.At.IsZero() {
		shown.UpdatedAt = s.At.Unix()
	}
	return shown
}

// paths are the paths and addresses in a cause: of where results go, and of files that each attempt
// names anew.
var paths = regexp.MustCompile(`[^\s"'` + "`" + `]*[/\\][^\s"'` + "`" + `:,;]*`)

// brokerFailures returns why shards of a job failed, without paths. What failed most comes first.
func brokerFailures(s *jobs.Status) []serve.BrokerFailure {
	of := map[string]*serve.BrokerFailure{}
	at := func(cause string) *serve.BrokerFailure {
		cause = paths.ReplaceAllString(cause, "…")
		if r := []rune(cause); len(r) > maxCause {
			cause = string(r[:maxCause]) + "…"
		}
		if of[cause] == nil {
			of[cause] = &serve.BrokerFailure{Cause: cause}
		}
		return of[cause]
	}
	for cause, n := range s.Causes {
		at(cause).Attempts += n
	}
	for _, f := range s.SetAside {
		at(f.Cause).SetAside++
	}
	list := []serve.BrokerFailure{}
	for _, f := range of {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b serve.BrokerFailure) int {
		return cmp.Or(b.SetAside-a.SetAside, b.Attempts-a.Attempts, strings.Compare(a.Cause, b.Cause))
	})
	return list[:min(len(list), maxCauses)]
}

func brokerWorker(w *jobs.Worker) serve.BrokerWorker {
	shown := serve.BrokerWorker{
		Name:    w.Name,
		Version: w.Version,
		Level:   w.Level,
		Threads: w.Threads,
		Images:  w.Images,
		Rate:    w.Rate,
	}
	if w.Job != "" {
		shown.Job, shown.Shard = &w.Job, &w.Unit
	}
	return shown
}
