package jobs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func newViewer(t *testing.T, url string) *Viewer {
	t.Helper()
	v, err := NewViewer(url, Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// TestViewer looks at a job before, while and after it is done.
func TestViewer(t *testing.T) {
	b := newBench(t, "")
	v := newViewer(t, b.broker.URL())
	look := func() *View {
		t.Helper()
		view, err := v.Look(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(view.Jobs) != 1 || view.Jobs[0].Job.ID != b.job.ID {
			t.Fatalf("got %v, want the job alone", view.Jobs)
		}
		return view
	}
	if s := look().Jobs[0].Status; s.State != Open || s.Images != 28 || s.Units != 10 || s.Made != 0 || !s.At.IsZero() {
		t.Errorf("at first: %+v", s)
	}
	if _, err := b.queue.Fill(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*Worker{{Name: "a", Job: b.job.ID, Rate: 2}, {Name: "b", Rate: 5}, {Name: "c", Job: b.job.ID, Rate: 5}} {
		if err := b.queue.Announce(b.ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	view := look()
	if s := view.Jobs[0].Status; s.Workers != 2 || s.Rate != 7 || s.Left != 4 || s.At.IsZero() {
		t.Errorf("with two workers at it: %+v", s)
	}
	if len(view.Workers) != 3 || view.Workers[1].Name != "b" {
		t.Errorf("workers %v, want a, b and c", view.Workers)
	}
	if err := b.queue.Finish(b.ctx, b.job, Cancelled); err != nil {
		t.Fatal(err)
	}
	if s := look().Jobs[0].Status; s.State != Cancelled || s.Workers != 0 || s.Rate != 0 || s.Left != 0 {
		t.Errorf("after it was cancelled: %+v", s)
	}
}

// TestViewerMakesNothing looks at a broker that has never had a job: it has no streams then.
func TestViewerMakesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := StartBroker("127.0.0.1:0", t.TempDir(), Access{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Stop()
	v := newViewer(t, broker.URL())
	if view, err := v.Look(ctx); err != nil || len(view.Jobs)+len(view.Workers) > 0 {
		t.Fatalf("got %v, %v, want nothing", view, err)
	}
	stream, err := jetstream.New(v.conn)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := stream.AccountInfo(ctx); err != nil || info.Streams != 0 {
		t.Errorf("%v, %v: want no streams", info, err)
	}
}

// TestViewerReconnects looks before there is a broker, while it is there, after it has gone and when
// it is back.
func TestViewerReconnects(t *testing.T) {
	b := newBench(t, "")
	url, store := b.broker.URL(), t.TempDir()
	b.broker.Stop()
	v := newViewer(t, url)
	for range 2 {
		if view, err := v.Look(b.ctx); err == nil {
			t.Fatalf("got %v without a broker", view)
		}
		b.start(strings.TrimPrefix(url, "nats://"), store)
		for { // the connection of before may still seem open
			if _, err := v.Look(b.ctx); err == nil {
				break
			}
			if err := sleep(b.ctx, reconnectWait); err != nil {
				t.Fatal(err)
			}
		}
		b.broker.Stop()
	}
	v.Close()
	if _, err := v.Look(b.ctx); err == nil {
		t.Error("a viewer that is closed looks")
	}
}

// TestViewerRefuses checks what is reported before anything is connected to.
func TestViewerRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, test := range []struct {
		addresses string
		access    Access
		want      error
	}{
		{"nowhere", Access{}, nil},
		{"nats://127.0.0.1:4222,nats://192.0.2.1:4222", Access{User: "u", Password: "p"}, ErrInsecure},
		{"tls://192.0.2.1:4222", Access{}, ErrInsecure},
		{"nats://127.0.0.1:4222", Access{NKey: missing}, os.ErrNotExist},
		{"nats://127.0.0.1:4222", Access{CA: missing}, os.ErrNotExist},
		{"nats://127.0.0.1:4222", Access{Cert: missing, Key: missing}, os.ErrNotExist},
	} {
		v, err := NewViewer(test.addresses, test.access)
		if err == nil {
			v.Close()
		}
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s, %+v: error %v, want %v", test.addresses, test.access, err, test.want)
		}
	}
}
