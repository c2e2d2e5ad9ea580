package serve

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tokencache/tokencache"
)

// bench is a scheduler whose images are finished when the test says.
type bench struct {
	*scheduler
	started chan string
	finish  map[string]chan struct{}
}

func newBench(threads int) *bench {
	return &bench{
		scheduler: newScheduler(threads, 20*time.Second, newMetrics()),
		started:   make(chan string, maxWaiting),
		finish:    map[string]chan struct{}{},
	}
}

// add submits a task of some images.
func (b *bench) add(name, key string, images int, cost float64) (*task, error) {
	end := make(chan struct{})
	b.finish[name] = end
	t := &task{key: key, keyWeight: 1, weight: 1, cost: cost, total: images, client: &tokencache.Client{}}
	for i := range images {
		t.images = append(t.images, i)
	}
	t.start = func(int) func() {
		b.started <- name
		<-end
		return func() {}
	}
	return t, b.submit(t)
}

// next returns the names of the next n images that are started, sorted.
func (b *bench) next(n int) []string {
	var names []string
	for range n {
		names = append(names, <-b.started)
	}
	slices.Sort(names)
	return names
}

// counts returns how many requests are running, and how many wait.
func (q *scheduler) counts() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.ring {
		for _, t := range a.tasks {
			if t.begun {
				running++
			} else {
				waiting++
			}
		}
	}
	return running, waiting
}

// TestScheduler checks who gets the slots.
func TestScheduler(t *testing.T) {
	const cost = 1e9
	t.Run("a newcomer need not wait", func(t *testing.T) {
		b := newBench(1) // 4 slots
		b.add("heavy", "a", 10, cost)
		if got := b.next(4); fmt.Sprint(got) != "[heavy heavy heavy heavy]" {
			t.Fatalf("started %v", got)
		}
		b.add("single", "b", 1, cost)
		b.add("same key", "a", 1, cost)
		if got := b.next(2); fmt.Sprint(got) != "[same key single]" {
			t.Errorf("started %v", got)
		}
		close(b.finish["single"])
		close(b.finish["same key"])
		close(b.finish["heavy"])
		b.next(6)
	})
	t.Run("keys take turns", func(t *testing.T) {
		b := newBench(1)
		b.add("first", "x", 4, cost)
		b.next(4)
		for i := range 3 {
			b.add(fmt.Sprint("a", i), "a", 2, cost)
		}
		b.add("b", "b", 4, cost)
		// a0 and b have slots beyond the usual four, as they have nothing in flight; then the next are
		// those of requests with nothing in flight, until there are eight.
		if got := b.next(4); fmt.Sprint(got) != "[a0 a1 a2 b]" {
			t.Fatalf("started %v", got)
		}
		close(b.finish["first"])
		for i := range 3 {
			close(b.finish[fmt.Sprint("a", i)])
		}
		close(b.finish["b"])
		b.next(6)
	})
	t.Run("an image of another is as much as several small ones", func(t *testing.T) {
		b := newBench(1)
		b.add("block", "x", 8, cost)
		b.next(4)
		b.mu.Lock()
		b.slots = 0 // hold everything until both are there
		b.mu.Unlock()
		b.add("dear", "a", 4, 4*cost)
		b.add("cheap", "b", 16, cost)
		b.mu.Lock()
		count := map[string]float64{}
		b.slots = 1 << 20
		for range 10 {
			task := b.round()
			count[task.key] += task.cost
			task.images = task.images[1:]
		}
		b.mu.Unlock()
		if share := count["a"] / count["b"]; share < 0.5 || share > 2 {
			t.Errorf("FLOPs of the keys: %v", count)
		}
		close(b.finish["block"])
		close(b.finish["dear"])
		close(b.finish["cheap"])
	})
}

// TestRefused checks which requests would wait too long.
func TestRefused(t *testing.T) {
	b := newBench(1)
	second := b.rate // FLOPs
	if _, err := b.add("very large", "a", 10, 10*second); err != nil {
		t.Fatalf("a request that waits for nobody: %v", err)
	}
	// It shares with the large one, which takes as much as it does.
	if _, err := b.add("small", "b", 1, second); err != nil {
		t.Fatalf("a small request: %v", err)
	}
	_, err := b.add("large", "a", 10, 10*second)
	var api *apiError
	if !errors.As(err, &api) || api.status != http.StatusTooManyRequests || api.retrySeconds() < 30 {
		t.Fatalf("a second large request: %v", err)
	}
	refused := 0
	for i := range 40 {
		if _, err := b.add(fmt.Sprint("one of many ", i), "b", 1, second); err != nil {
			refused++
		}
	}
	if refused < 15 || refused > 35 {
		t.Errorf("%d of 40 seconds of work were refused, want about 20", refused)
	}
	b.end()
}

// end lets all images finish.
func (b *bench) end() {
	for _, end := range b.finish {
		close(end)
	}
}

// fill adds requests of a key as large as the queue takes, at most largest FLOPs and ever smaller, and
// returns the size of the last; n bounds their number.
func (b *bench) fill(key string, n int, largest float64) float64 {
	for taken := 0; taken < n && largest >= b.rate/1000; {
		if _, err := b.add(fmt.Sprint(key, " ", taken), key, 1, largest); err != nil {
			largest *= 0.95
			continue
		}
		taken++
	}
	return largest
}

// rest is how long the work in hand takes without its largest request.
func (b *bench) rest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all pile
	for _, a := range b.ring {
		for _, t := range a.tasks {
			all.add(t.left())
		}
	}
	return b.time(all.rest())
}

// TestBounded checks that a thousand keys queue no more than there may be, that one key alone leaves
// room for others, and that nothing is left of any in the end.
func TestBounded(t *testing.T) {
	b := newBench(1)
	second := b.rate
	b.fill("greedy", 100, 1000*second)
	if rest := b.rest(); rest < b.limit/2 || rest > keyWork*b.limit {
		t.Errorf("one key queued %v next to its largest request", rest)
	}
	if _, err := b.add("light", "light", 1, second/10); err != nil {
		t.Errorf("a small request of another key: %v", err)
	}
	largest := 1000 * second
	for i := range 1000 {
		largest = b.fill(fmt.Sprint("key ", i), 1, largest)
	}
	if rest := b.rest(); rest > allWork*b.limit {
		t.Errorf("many keys queued %v next to the largest request", rest)
	}
	if running, waiting := b.counts(); running+waiting > maxWaiting {
		t.Errorf("%d requests are known", running+waiting)
	}
	b.end()
	for left := 1; left > 0; {
		b.mu.Lock()
		left = len(b.accounts) + len(b.ring)
		b.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// TestKeyPlaces checks that a key of many small requests leaves places for other keys.
func TestKeyPlaces(t *testing.T) {
	b := newBench(1)
	defer b.end()
	b.fill("many", maxWaiting, b.rate/1000)
	if running, waiting := b.counts(); running+waiting != maxWaiting/2 {
		t.Errorf("a key has %d requests, want half of %d", running+waiting, maxWaiting)
	}
}

// TestFull checks that the queue is said to be full exactly when a small request of a new key would
// be refused.
func TestFull(t *testing.T) {
	for _, test := range []struct {
		name        string
		seconds     float64 // of an image
		least, most int     // requests that are taken
	}{{"many keys", 1, 20, 30}, {"too many requests", 1e-6, maxWaiting, maxWaiting}} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(1)
			taken := 0
			for full := false; !full; taken++ {
				full = b.full()
				_, err := b.add(fmt.Sprint(taken), fmt.Sprint("key ", taken), 1, test.seconds*b.rate)
				if full != (err != nil) {
					t.Fatalf("after %d requests: full %v, but a request: %v", taken, full, err)
				}
			}
			if taken--; taken < test.least || taken > test.most {
				t.Errorf("%d requests were taken, want %d to %d", taken, test.least, test.most)
			}
			for _, end := range b.finish {
				close(end)
			}
		})
	}
}

// TestPositions checks that requests are told where they stand.
func TestPositions(t *testing.T) {
	b := newBench(1)
	b.mu.Lock()
	b.slots = 0
	b.mu.Unlock()
	var mu sync.Mutex
	told := map[string][]int{}
	for _, name := range []string{"a", "b"} {
		end := make(chan struct{})
		close(end)
		task := &task{key: "k", keyWeight: 1, weight: 1, cost: 1, total: 1, images: []int{0}, client: &tokencache.Client{}}
		task.start = func(int) func() { <-end; return func() {} }
		task.moved = func(position int) {
			mu.Lock()
			defer mu.Unlock()
			told[name] = append(told[name], position)
		}
		if err := b.submit(task); err != nil {
			t.Fatal(err)
		}
		if name == "a" {
			defer func() {
				b.remove(task)
				mu.Lock()
				defer mu.Unlock()
				if fmt.Sprint(told) != "map[a:[1] b:[2 1]]" {
					t.Errorf("told %v", told)
				}
			}()
		}
	}
}

// TestEnded checks that a task that is told to have ended has no place in the queue.
func TestEnded(t *testing.T) {
	b := newBench(1)
	counted := make(chan int)
	last := &task{keyWeight: 1, weight: 1, cost: 1, total: 1, images: []int{0}, client: &tokencache.Client{}}
	last.start = func(int) func() {
		return func() {
			running, waiting := b.counts()
			counted <- running + waiting
		}
	}
	if err := b.submit(last); err != nil {
		t.Fatal(err)
	}
	if n := <-counted; n != 0 {
		t.Errorf("%d tasks are in the queue", n)
	}
}
