package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tokencache/tokencache/shard"
)

// testRun is a run of images of one pixel each.
func testRun(images int) shard.Run {
	return shard.Run{Identity: "5eed", Images: images, Classes: shard.ClassHash(make([]int64, images))}
}

// maker makes parts of the tests' runs at once; before is called first.
type maker struct {
	before func(ctx context.Context, unit shard.Span) error
	made   atomic.Int64
}

func (m *maker) Prepare(context.Context, *Job) error { return nil }

func (m *maker) Make(ctx context.Context, j *Job, s shard.Span, dir string) (string, error) {
	if m.before != nil {
		if err := m.before(ctx, s); err != nil {
			return "", err
		}
	}
	m.made.Add(1)
	p := shard.Part{Run: j.Run, Span: s, Height: 1, Width: 1, Channels: 1, Classes: make([]int64, s.Len())}
	err := p.Write(dir, func(i int) ([]byte, error) { return []byte{byte(s.First + i)}, nil })
	return filepath.Join(dir, p.Name()), err
}

var needs = Needs{Version: "1", Level: "avx2", DType: "f32"}

// bench is a broker with a job of 10 units.
type bench struct {
	*testing.T
	ctx    context.Context
	broker *Broker
	queue  *Queue
	job    *Job
	dir    string
}

func newBench(t *testing.T, store string) *bench {
	t.Helper()
	t.Parallel() // the tests wait for the disk
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	b := &bench{T: t, ctx: ctx, dir: t.TempDir()}
	if store == "" {
		store = b.dir
	}
	b.start("127.0.0.1:0", t.TempDir())
	b.queue = b.open()
	b.job = New(nil, testRun(28), 3, store, needs)
	b.job.AckWait, b.job.Attempts = 300*time.Millisecond, 3
	if err := b.queue.Submit(ctx, b.job); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) start(address, store string) {
	b.Helper()
	var err error
	if b.broker, err = StartBroker(address, store, Access{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(b.broker.Stop)
}

// open returns a queue over a connection of its own, as another process has it.
func (b *bench) open() *Queue {
	b.Helper()
	c, err := Connect(b.broker.URL(), Access{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	q, err := OpenQueue(b.ctx, c, 1)
	if err != nil {
		b.Fatal(err)
	}
	return q
}

// work starts a worker and returns what stops it and waits for its end.
func (b *bench) work(name string, m *maker, change func(w *Worker)) (stop func()) {
	b.Helper()
	return b.startWorker(name, m, nil, change)
}

// workTasks starts a worker that does tasks.
func (b *bench) workTasks(name string, kind Kind) {
	b.Helper()
	b.startWorker(name, &maker{before: func(context.Context, shard.Span) error {
		return errors.New("it makes no images")
	}}, map[string]Kind{"double": kind}, nil)
}

func (b *bench) startWorker(name string, m *maker, kinds map[string]Kind, change func(w *Worker)) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	worker := &Worker{Name: name, Version: needs.Version, Level: needs.Level, DTypes: []string{needs.DType}}
	if change != nil {
		change(worker)
	}
	w := &Work{
		Queue:   b.open(),
		Worker:  worker,
		Maker:   m,
		Kinds:   kinds,
		Scratch: filepath.Join(b.TempDir(), "scratch"),
		Note:    b.Logf,
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := w.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			b.Errorf("worker %s: %v", name, err)
		}
	})
	stop = func() { cancel(); wait.Wait() }
	b.Cleanup(stop)
	return stop
}

// coordinate looks after the job until it is done.
func (b *bench) coordinate() (*Status, error) {
	last := &Status{}
	c := &Coordinator{Queue: b.queue, Every: 20 * time.Millisecond, OnStatus: func(s *Status) { last = s }}
	return last, c.Run(b.ctx, b.job)
}

// checkWhole checks that the job's folder has all images.
func (b *bench) checkWhole() {
	b.Helper()
	folder, err := shard.Scan(b.dir)
	if err != nil {
		b.Fatal(err)
	}
	parts, err := folder.Choose("")
	if err != nil {
		b.Fatal(err)
	}
	next := 0
	err = parts.Each(func(m shard.Image) error {
		if m.Index != next || m.Pixels[0] != byte(next) {
			b.Errorf("image %d: %v, want image %d", m.Index, m.Pixels, next)
		}
		next++
		return nil
	})
	if err != nil || next != b.job.Run.Images || len(folder.Runs) != 1 || len(folder.Damaged) > 0 {
		b.Errorf("%d images, %v", next, err)
	}
}

// TestWorkers has three workers do a job, of which one stops in the middle of a unit.
func TestWorkers(t *testing.T) {
	b := newBench(t, "")
	begun := make(chan bool, 100)
	hang := &maker{before: func(ctx context.Context, _ shard.Span) error {
		begun <- true
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := b.work("a", hang, nil)
	var wait sync.WaitGroup
	wait.Go(func() {
		<-begun
		stop()
		b.work("b", &maker{}, nil)
		b.work("c", &maker{}, nil)
	})
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	b.checkWhole()
	if s, err := b.queue.Status(b.ctx, b.job); err != nil || s.State != Done || s.Made != 28 {
		t.Errorf("status %v, %v: want a job that is done", s, err)
	}
	if j, err := b.queue.Job(b.ctx, b.job.ID[:4]); err != nil || j.State != Done {
		t.Errorf("%v, %v: want a job that is done", j, err)
	}
}

// TestHeldUnits has workers fall silent that hold units and have begun none, more often than a unit
// may be begun: none is set aside.
func TestHeldUnits(t *testing.T) {
	b := newBench(t, "")
	b.job.AckWait, b.job.Attempts = 100*time.Millisecond, DefaultAttempts
	if err := b.queue.Submit(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	if _, err := b.queue.Fill(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	c, err := b.queue.consumer(b.ctx, b.job)
	if err != nil {
		t.Fatal(err)
	}
	for most := uint64(0); most <= DefaultAttempts; {
		batch, err := c.Fetch(b.job.Units(), jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			about, err := m.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, about.NumDelivered)
		}
	}
	b.work("a", &maker{}, nil)
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
}

// TestSilentWorkers begin units and fall silent: one that was begun as often as it may be is set
// aside, until it is retried.
func TestSilentWorkers(t *testing.T) {
	b := newBench(t, "")
	for unit, times := range []int{b.job.Attempts, b.job.Attempts - 1, b.job.Attempts} {
		for range times {
			if _, err := b.queue.begin(b.ctx, b.job, unit); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.work("a", &maker{}, nil)
	_, err := b.coordinate()
	aside := (*SetAsideError)(nil)
	if !errors.As(err, &aside) || len(aside.Failures) != 2 || !strings.Contains(aside.Failures[0].Cause, "fell silent") {
		t.Fatalf("error %v, want that two units were set aside", err)
	}
	if err := b.queue.Retry(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
}

// TestPoison has a unit fail always: it is set aside with its cause, after all attempts and all
// other units; retried when the cause has gone, it is done.
func TestPoison(t *testing.T) {
	b := newBench(t, "")
	var healed atomic.Bool
	attempts := atomic.Int64{}
	m := &maker{before: func(_ context.Context, s shard.Span) error {
		switch {
		case s.First == 6 && !healed.Load():
			attempts.Add(1)
			return errors.New("no such tensor")
		case s.First == 9 && attempts.Load() < 2:
			panic("out of range")
		}
		return nil
	}}
	b.work("a", m, nil)
	_, err := b.coordinate()
	aside := (*SetAsideError)(nil)
	if !errors.As(err, &aside) || len(aside.Failures) != 1 || aside.Failures[0].Unit != 2 ||
		aside.Failures[0].Cause != "no such tensor" || attempts.Load() != 3 {
		t.Fatalf("error %v after %d attempts, want unit 2 set aside after 3", err, attempts.Load())
	}
	s, err := b.queue.Status(b.ctx, b.job)
	if err != nil || s.Done != 9 || len(s.SetAside) != 1 || s.Causes["no such tensor"] == 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	healed.Store(true)
	if err := b.queue.Retry(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
}

// TestUnfitWorkers checks that workers which cannot give what a job needs take none of its units.
func TestUnfitWorkers(t *testing.T) {
	b := newBench(t, "")
	unfit := &maker{}
	for name, change := range map[string]func(w *Worker){
		"version": func(w *Worker) { w.Version = "2" },
		"level":   func(w *Worker) { w.Level = "generic" },
		"dtype":   func(w *Worker) { w.DTypes = []string{"bf16"} },
	} {
		b.work(name, unfit, change)
	}
	fit := &maker{before: func(ctx context.Context, _ shard.Span) error { return sleep(ctx, 20*time.Millisecond) }}
	b.work("fit", fit, nil)
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
	if unfit.made.Load() != 0 || fit.made.Load() != 10 {
		t.Errorf("workers that are unfit made %d units, the fit one %d, want 0 and 10", unfit.made.Load(), fit.made.Load())
	}
}

// TestLacks checks what a worker can give that a job needs.
func TestLacks(t *testing.T) {
	w := &Worker{
		Version: "1",
		Level:   "avx512",
		Levels:  map[string]string{"bf16": "bf16"},
		DTypes:  []string{"f32", "bf16"},
	}
	for _, c := range []struct {
		needs Needs
		want  string // what the answer says; "": nothing is lacking
	}{
		{Needs{Version: "1", Level: "avx512", DType: "f32"}, ""},
		{Needs{Version: "1", Level: "bf16", DType: "bf16"}, ""},
		{Needs{Version: "1", Level: "avx512", DType: "bf16"}, "CPU level avx512, this works at bf16"},
		{Needs{Version: "1", Level: "avx2", DType: "f32"}, "CPU level avx2, this works at avx512"},
		{Needs{Version: "1", Level: "avx512", DType: "int8"}, "dtype int8, this has [f32 bf16]"},
		{Needs{Version: "2", Level: "avx512", DType: "f32"}, "version 2, this is 1"},
	} {
		t.Run(fmt.Sprint(c.needs), func(t *testing.T) {
			if got := c.needs.Lacks(w); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestOtherRun has a worker make another run's part: it does not come into the store.
func TestOtherRun(t *testing.T) {
	b := newBench(t, "")
	b.job.Attempts = 1
	if err := b.queue.Submit(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	b.work("a", nil, nil)()
	ctx, cancel := context.WithCancel(b.ctx)
	w := &Work{
		Queue:   b.open(),
		Worker:  &Worker{Name: "liar", Version: needs.Version, Level: needs.Level, DTypes: []string{needs.DType}},
		Maker:   liar{&maker{}},
		Scratch: filepath.Join(t.TempDir(), "scratch"),
		Note:    t.Logf,
	}
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	_, err := b.coordinate()
	cancel()
	<-done
	if aside := (*SetAsideError)(nil); !errors.As(err, &aside) || len(aside.Failures) != 10 ||
		!strings.Contains(aside.Failures[0].Cause, "it is of another run") {
		t.Errorf("error %v, want all units set aside", err)
	}
	if files, _ := os.ReadDir(b.dir); len(files) > 0 {
		t.Errorf("files %v in the store", files)
	}
}

// liar makes parts of a run with another seed.
type liar struct{ *maker }

func (l liar) Make(ctx context.Context, j *Job, s shard.Span, dir string) (string, error) {
	other := *j
	other.Run.Identity = "f00d"
	return l.maker.Make(ctx, &other, s, dir)
}

// TestBrokerLost loses the broker with all it kept in the middle of a job: the queue is made again
// of what is missing in the store, while the workers stay.
func TestBrokerLost(t *testing.T) {
	b := newBench(t, "")
	begun := make(chan bool, 100)
	release := make(chan bool)
	m := &maker{before: func(ctx context.Context, s shard.Span) error {
		if s.First >= 12 {
			begun <- true
			<-release
		}
		return nil
	}}
	b.work("a", m, nil)
	ctx, cancel := context.WithCancel(b.ctx)
	first := make(chan error)
	go func() { first <- (&Coordinator{Queue: b.queue, Every: 20 * time.Millisecond}).Run(ctx, b.job) }()
	<-begun
	address := strings.TrimPrefix(b.broker.URL(), "nats://")
	b.broker.Stop()
	cancel()
	<-first
	close(release)
	b.start(address, t.TempDir()) // an empty store
	b.queue = b.open()
	if err := b.queue.Submit(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
	if made := m.made.Load(); made < 10 || made > 11 {
		t.Errorf("%d units were made, want 10, and perhaps one twice", made)
	}
}

// TestBrokerRestart restarts the broker in the middle of a job. It has what it kept on the disk, but
// not what it kept in memory; coordinator and worker go on.
func TestBrokerRestart(t *testing.T) {
	b := newBench(t, "")
	begun, release := make(chan bool, 100), make(chan bool)
	b.work("a", &maker{before: func(ctx context.Context, s shard.Span) error {
		if s.First >= 12 {
			begun <- true
			<-release
		}
		return nil
	}}, nil)
	ended := make(chan error)
	go func() { ended <- (&Coordinator{Queue: b.queue, Every: 20 * time.Millisecond}).Run(b.ctx, b.job) }()
	<-begun
	address, store := strings.TrimPrefix(b.broker.URL(), "nats://"), b.broker.server.StoreDir()
	b.broker.Stop()
	close(release)
	b.start(address, filepath.Dir(store))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
}

// TestBrokerAway checks that what is asked of a broker while it is away is done when it is back.
func TestBrokerAway(t *testing.T) {
	for name, ask := range map[string]func(b *bench) error{
		"submit": func(b *bench) error { return b.queue.Submit(b.ctx, b.job) },
		"finish": func(b *bench) error { return b.queue.Finish(b.ctx, b.job, Done) },
		"retry":  func(b *bench) error { return b.queue.Retry(b.ctx, b.job) },
		"forget": func(b *bench) error { return b.queue.Forget(b.ctx, b.job) },
		"store": func(b *bench) error {
			_, err := b.queue.OpenStore(b.ctx, BrokerStore)
			return err
		},
		"status": func(b *bench) error {
			if _, err := b.queue.Status(b.ctx, b.job); !errors.Is(err, errNoStatus) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "")
			address, store := strings.TrimPrefix(b.broker.URL(), "nats://"), b.broker.server.StoreDir()
			b.broker.Stop()
			asked := make(chan error, 1)
			go func() { asked <- ask(b) }()
			select {
			case err := <-asked:
				t.Fatalf("without a broker: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			b.start(address, filepath.Dir(store))
			if err := <-asked; err != nil {
				t.Error(err)
			}
			if _, err := b.open().Jobs(b.ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNothingShared has results come back through the broker. A damaged one is made again.
func TestNothingShared(t *testing.T) {
	b := newBench(t, BrokerStore)
	b.work("a", &maker{}, nil)
	b.work("b", &maker{}, nil)
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	store, err := b.queue.OpenStore(b.ctx, BrokerStore)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), b.job.Result(4))
	if err := os.WriteFile(bad, []byte("rot"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(b.ctx, bad); err != nil {
		t.Fatal(err)
	}
	if err := b.queue.Collect(b.ctx, b.job, b.dir); err == nil || !strings.Contains(err.Error(), b.job.Result(4)) {
		t.Errorf("a damaged result: error %v", err)
	}
	b.job.State = Open
	if err := b.queue.Submit(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	if err := b.queue.Collect(b.ctx, b.job, b.dir); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
}

// TestCancel checks that a job that is cancelled ends, and nothing of it is queued.
func TestCancel(t *testing.T) {
	b := newBench(t, "")
	if err := b.queue.Finish(b.ctx, b.job, Cancelled); err != nil {
		t.Fatal(err)
	}
	if _, err := b.coordinate(); err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("error %v", err)
	}
	if queued, err := units(b.ctx, b.queue.work, workSubject, b.job); err != nil || len(queued) > 0 {
		t.Errorf("queued %v, error %v", queued, err)
	}
}

// TestPush checks that a unit is queued once.
func TestPush(t *testing.T) {
	b := newBench(t, "")
	for range 3 {
		if err := b.queue.push(b.ctx, b.job, 7); err != nil {
			t.Fatal(err)
		}
	}
	info, err := b.queue.work.Info(b.ctx)
	if err != nil || info.State.Msgs != 1 {
		t.Errorf("%+v, error %v: want one message", info, err)
	}
}

// TestJobs checks the division into units.
func TestJobs(t *testing.T) {
	j := New([]string{"--count", "28"}, testRun(28), 3, "out", needs)
	at := 0
	names := map[string]bool{}
	for i := range j.Units() {
		if s := j.Span(i); s.First != at || s.Len() < 1 {
			t.Errorf("unit %d: %v, want it from %d on", i, s, at)
		}
		at = j.Span(i).End
		names[j.Result(i)] = true
	}
	if at != 28 || len(names) != j.Units() {
		t.Errorf("%d units end at %d and make %d parts", j.Units(), at, len(names))
	}
	for _, bad := range []func(j *Job){
		func(j *Job) { j.ID = "../../etc" },
		func(j *Job) { j.Size = 0 },
		func(j *Job) { j.Run.Images = maxImages + 1 },
		func(j *Job) { j.Attempts = 0 },
		func(j *Job) { j.Run.Images = 1 << 20; j.Size = 1 },
	} {
		other := *j
		if bad(&other); other.check() == nil {
			t.Errorf("%+v: no error", other)
		}
	}
	if fmt.Sprint(New(nil, testRun(28), 3, "elsewhere", needs).ID) == j.ID {
		t.Error("jobs of two stores are one")
	}
}

// benchQueue returns a queue of a broker of its own, and a job.
func benchQueue(b *testing.B) (*Queue, *Job) {
	b.Helper()
	broker, err := StartBroker("127.0.0.1:0", b.TempDir(), Access{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(broker.Stop)
	c, err := Connect(broker.URL(), Access{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	q, err := OpenQueue(b.Context(), c, 1)
	if err != nil {
		b.Fatal(err)
	}
	j := New(nil, testRun(maxUnits), 1, b.TempDir(), needs)
	if err := q.Submit(b.Context(), j); err != nil {
		b.Fatal(err)
	}
	return q, j
}

// BenchmarkQueue is what the broker takes for a unit that is queued, and confirmed: twice -sync of
// bench/jobs/simulate.
func BenchmarkQueue(b *testing.B) {
	q, j := benchQueue(b)
	consumer, err := q.consumer(b.Context(), j)
	if err != nil {
		b.Fatal(err)
	}
	unit := 0
	for b.Loop() {
		if err := q.push(b.Context(), j, unit); err != nil {
			b.Fatal(err)
		}
		unit++
		m, err := consumer.Next()
		if err != nil {
			b.Fatal(err)
		}
		if err := m.DoubleAck(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAsk is what the broker takes for a question: -ask.
func BenchmarkAsk(b *testing.B) {
	q, _ := benchQueue(b)
	for b.Loop() {
		if err := q.Announce(b.Context(), &Worker{Name: "a"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBegin is what the broker takes for a unit that is begun: two questions.
func BenchmarkBegin(b *testing.B) {
	q, j := benchQueue(b)
	unit := 0
	for b.Loop() {
		if _, err := q.begin(b.Context(), j, unit); err != nil {
			b.Fatal(err)
		}
		unit++
	}
}

// BenchmarkLook is what a look of the coordinator takes, less the store: about ten questions and,
// for each worker and each queued unit, -tell.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprint(n, " workers and units"), func(b *testing.B) {
			q, j := benchQueue(b)
			ctx := b.Context()
			for i := range n {
				w := &Worker{Name: WorkerName("host", i), Host: "host", Version: needs.Version, DTypes: []string{needs.DType}}
				if err := errors.Join(q.Announce(ctx, w), q.push(ctx, j, i)); err != nil {
					b.Fatal(err)
				}
			}
			c := &Coordinator{Queue: q}
			for b.Loop() {
				_, err := q.Job(ctx, j.ID)
				errs := []error{err}
				_, err = q.consumer(ctx, j)
				errs = append(errs, err)
				_, err = q.Failures(ctx, j)
				errs = append(errs, err)
				_, err = units(ctx, q.work, workSubject, j)
				if err := errors.Join(append(errs, err, c.report(ctx, &Status{Job: j.ID}))...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
