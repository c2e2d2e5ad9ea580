package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/serve"
	"github.com/tokencache/tokencache/shard"
)

// get returns the status and the body of an answer.
func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, b
}

// showing starts a server that shows the jobs of the broker at an address.
func showing(t *testing.T, address string) (url string) {
	t.Helper()
	v, err := parseServe(t, "--nats", address).viewer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	s, err := serve.New(serve.Options{Models: serve.Models(nil), Broker: brokerView(v)})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); h.Close() })
	return h.URL
}

// seen waits until the server shows the broker's jobs.
func seen(t *testing.T, ctx context.Context, url string) (serve.BrokerView, string) {
	t.Helper()
	for {
		status, b := get(t, url+"/v1/queue")
		if status == http.StatusOK {
			var v serve.BrokerView
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			return v, string(b)
		}
		if err := ctx.Err(); status != http.StatusServiceUnavailable || err != nil {
			t.Fatalf("status %d, %v: %s", status, err, b)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// broker starts a broker with a job, and returns it with the job.
func broker(t *testing.T, ctx context.Context, address, store string, j *jobs.Job) *jobs.Broker {
	t.Helper()
	b, err := jobs.StartBroker(address, store, jobs.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	conn, err := jobs.Connect(b.URL(), jobs.Access{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q, err := jobs.OpenQueue(ctx, conn, 1)
	if err == nil {
		err = q.Submit(ctx, j)
	}
	if err == nil {
		_, err = q.Fill(ctx, j)
	}
	if err == nil {
		err = q.Announce(ctx, &jobs.Worker{Name: "ada-1", Version: "1", Level: "avx2", Threads: 2, Job: j.ID, Unit: 1, Rate: 2})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestServeBroker shows the jobs of a broker that comes after the server, goes, and comes back. What
// the job asks for and where its results go is not shown.
func TestServeBroker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := jobs.StartBroker("127.0.0.1:0", t.TempDir(), jobs.Access{})
	if err != nil {
		t.Fatal(err)
	}
	address := b.URL() // which is free now
	b.Stop()
	url := showing(t, address)
	if status, b := get(t, url+"/v1/queue"); status != http.StatusServiceUnavailable ||
		!strings.Contains(string(b), "cannot be reached") {
		t.Errorf("without the broker: status %d: %s", status, b)
	}
	if status, b := get(t, url+"/v1/models"); status != http.StatusOK {
		t.Errorf("the models, without the broker: status %d: %s", status, b)
	}
	run := shard.Run{Identity: "5eed", Images: 28, Classes: shard.ClassHash(make([]int64, 28))}
	dir, store := t.TempDir(), t.TempDir()
	j := jobs.New([]string{"--prompt", "a secret"}, run, 3, dir, jobs.Needs{Version: "1", Level: "avx2", DType: "f32"})
	b = broker(t, ctx, strings.TrimPrefix(address, "nats://"), store, j)
	for range 2 {
		v, text := seen(t, ctx, url)
		if v.Total != 1 || len(v.Jobs) != 1 || len(v.Workers) != 1 {
			t.Fatalf("got %s", text)
		}
		job, worker := v.Jobs[0], v.Workers[0]
		if job.ID != j.ID || job.Kind != "generate" || job.State != "open" || job.Images != 28 || job.Shards != 10 ||
			job.Workers != 1 || job.Rate != 2 || job.Left != 14 || job.UpdatedAt == 0 {
			t.Errorf("got job %+v", job)
		}
		if worker.Name != "ada-1" || worker.Job == nil || *worker.Job != j.ID || *worker.Shard != 1 {
			t.Errorf("got worker %+v", worker)
		}
		if strings.Contains(text, "secret") || strings.Contains(text, dir) {
			t.Errorf("arguments or the store are shown: %s", text)
		}
		b.Stop()
		for status := http.StatusOK; status != http.StatusServiceUnavailable; status, _ = get(t, url+"/v1/queue") {
			if ctx.Err() != nil {
				t.Fatal("without the broker its jobs are still shown")
			}
			time.Sleep(100 * time.Millisecond)
		}
		b = broker(t, ctx, strings.TrimPrefix(address, "nats://"), store, j)
	}
}

// TestServeBrokerMetrics checks that the server has the metrics of jobs that jobs run has.
func TestServeBrokerMetrics(t *testing.T) {
	t.Parallel()
	m := &jobs.Metrics{}
	m.Set(&jobs.Status{Job: "a", Causes: map[string]int{"x": 1}})
	r := httptest.NewRecorder()
	m.ServeHTTP(r, nil)
	shown := &serve.BrokerView{Jobs: []serve.BrokerJob{{ID: "a", Failures: []serve.BrokerFailure{{Cause: "x", Attempts: 1}}}}}
	s, err := serve.New(serve.Options{
		Models: serve.Models(nil),
		Broker: func(context.Context) (*serve.BrokerView, error) { return shown, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	defer h.Close()
	defer s.Close()
	_, b := get(t, h.URL+"/metrics")
	names := func(text string) []string {
		list := regexp.MustCompile(`(?m)^tokencache_job_\w+`).FindAllString(text, -1)
		slices.Sort(list)
		return list
	}
	want, got := names(r.Body.String()), names(string(b))
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("got metrics %q, want %q", got, want)
	}
}

// TestShown checks which jobs are shown of more than there is room for, and in which order.
func TestShown(t *testing.T) {
	job := func(id string, state jobs.State, at int64) jobs.JobView {
		return jobs.JobView{Job: &jobs.Job{ID: id, State: state}, Status: &jobs.Status{State: state, At: time.Unix(at, 0)}}
	}
	seen := &jobs.View{Jobs: []jobs.JobView{job("old", jobs.Done, 1), job("b", jobs.Open, 2)}}
	for range maxShown - 3 {
		seen.Jobs = append(seen.Jobs, job("between", jobs.Cancelled, 5))
	}
	seen.Jobs = append(seen.Jobs, job("new", jobs.Done, 9), job("z", jobs.Open, 1))
	v := shown(seen)
	if v.Total != maxShown+1 || len(v.Jobs) != maxShown {
		t.Fatalf("%d of %d jobs, want %d of %d", len(v.Jobs), v.Total, maxShown, maxShown+1)
	}
	for i, want := range []string{"b", "z", "new", "between"} {
		if v.Jobs[i].ID != want {
			t.Errorf("job %d is %s, want %s", i, v.Jobs[i].ID, want)
		}
	}
	if last := v.Jobs[maxShown-1].ID; last != "between" {
		t.Errorf("the last is %s: the one that ended first is to be left out", last)
	}
}

// TestBrokerFailures checks how failures are counted by their causes, and how many are shown.
func TestBrokerFailures(t *testing.T) {
	s := &jobs.Status{
		Causes: map[string]int{
			"no space": 1, "write /data/parts/part-1.npz: write /data/parts/.part-1.tmp: no space": 1,
			"write /data/parts/part-2.npz: write /data/parts/.part-2.tmp: no space": 2, "a panic": 9,
		},
		SetAside: []jobs.Failure{{Cause: "write /data/parts/part-3.npz: write s3://bucket/x: no space"}, {Cause: "no space"}, {Cause: strings.Repeat("é", 600)}},
	}
	want := []serve.BrokerFailure{
		{Cause: "write …: write …: no space", Attempts: 3, SetAside: 1},
		{Cause: "no space", Attempts: 1, SetAside: 1},
		{Cause: strings.Repeat("é", 500) + "…", SetAside: 1},
		{Cause: "a panic", Attempts: 9},
	}
	if got := brokerFailures(s); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for i := range 20 {
		s.Causes[fmt.Sprint(i)] = 1
	}
	if got := brokerFailures(s); len(got) != maxCauses {
		t.Errorf("%d causes, want %d", len(got), maxCauses)
	}
}

// TestServeBrokerFlags checks what is refused before anything is served.
func TestServeBrokerFlags(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--nats-user", "ada"}, "give --nats too"},
		{[]string{"--nats", "nowhere"}, "want an address"},
		{[]string{"--nats", "nats://192.0.2.1:4222"}, jobs.ErrInsecure.Error()},
		{[]string{"--nats", "nats://127.0.0.1:4222", "--nats-user", "ada"}, "--nats-password-file"},
		{[]string{"--nats", "nats://127.0.0.1:4222", "--nats-user", "ada", "--nats-password-file", missing}, missing},
		{[]string{"--nats", "nats://127.0.0.1:4222", "--nats-nkey", missing}, missing},
		{[]string{"--nats", "nats://127.0.0.1:4222", "--nats-tls-ca", missing}, missing},
		{[]string{"--nats", "nats://127.0.0.1:4222", "--nats-tls-cert", missing}, "--nats-tls-key"},
		{[]string{"--nats", "nats://127.0.0.1:4222", "--nats-tls-cert", missing, "--nats-tls-key", missing}, missing},
	} {
		if _, err := parseServe(t, test.args...).viewer(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want one with %q", test.args, err, test.want)
		}
	}
	if v, err := parseServe(t).viewer(); err == nil && v != nil {
		t.Error("without --nats there is a viewer")
	}
}
