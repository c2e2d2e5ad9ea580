package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// doubler is a Kind whose result is the number of the task, twice; task 3 fails.
type doubler struct {
	fails    bool
	did      atomic.Int64
	attempts atomic.Int64
}

func (d *doubler) Prepare(_ context.Context, j *Job) error {
	if j.Tasks.Of != "numbers" {
		return errors.New("other tasks")
	}
	return nil
}

func (d *doubler) Run(_ context.Context, _ *Job, task json.RawMessage) ([]byte, error) {
	var n int
	if err := json.Unmarshal(task, &n); err != nil {
		return nil, err
	}
	if n == 3 && d.fails {
		d.attempts.Add(1)
		return nil, errors.New("three is too much")
	}
	d.did.Add(1)
	return fmt.Append(nil, 2*n), nil
}

// tasksOf are the tasks of numbers below n.
func tasksOf(n int) Tasks {
	t := Tasks{Kind: "double", Of: "numbers"}
	for i := range n {
		t.List = append(t.List, json.RawMessage(fmt.Sprint(i)))
	}
	return t
}

// double has the tasks done and returns the results and the failures.
func (b *bench) double(store string, tasks Tasks) (map[int]string, map[int]error) {
	b.Helper()
	results, failures := map[int]string{}, map[int]error{}
	c := &Caller{
		Queue:    b.queue,
		Store:    store,
		Needs:    needs,
		AckWait:  300 * time.Millisecond,
		Attempts: 2,
		Every:    20 * time.Millisecond,
	}
	err := c.Do(b.ctx, nil, tasks, func(i int, result []byte, failed error) error {
		if _, twice := results[i]; twice {
			b.Errorf("the result of task %d came twice", i)
		}
		if failed != nil {
			failures[i] = failed
			return nil
		}
		results[i] = string(result)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return results, failures
}

// TestTasks has three workers do tasks: all results come back once, one fails with its cause, and
// neither job nor results are left.
func TestTasks(t *testing.T) {
	for _, name := range []string{"folder", BrokerStore} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "")
			store := name
			if name == "folder" {
				store = t.TempDir()
			}
			kind := &doubler{fails: true}
			for i := range 3 {
				b.workTasks(fmt.Sprint("worker", i), kind)
			}
			results, failures := b.double(store, tasksOf(8))
			want := map[int]string{0: "0", 1: "2", 2: "4", 4: "8", 5: "10", 6: "12", 7: "14"}
			if !maps.Equal(results, want) {
				t.Errorf("results %v, want %v", results, want)
			}
			if len(failures) != 1 || failures[3] == nil || kind.attempts.Load() != 2 {
				t.Errorf("failures %v after %d attempts, want one of task 3 after 2", failures, kind.attempts.Load())
			}
			all, err := b.queue.Jobs(b.ctx)
			if err != nil || len(all) != 1 {
				t.Errorf("%d jobs are left, error %v, want the bench's own", len(all), err)
			}
			s, err := b.queue.OpenStore(b.ctx, store)
			if err != nil {
				t.Fatal(err)
			}
			if left, err := s.Names(b.ctx); err != nil || len(left) > 0 {
				t.Errorf("results %v are left, error %v", left, err)
			}
		})
	}
}

// TestTasksResume checks that results which an interrupted call left in the store are taken from
// there, and that one which is damaged is made again.
func TestTasksResume(t *testing.T) {
	b := newBench(t, "")
	store, tasks := t.TempDir(), tasksOf(4)
	if err := writeResult(filepath.Join(store, tasks.result(1)), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store, tasks.result(2)), make([]byte, 40), 0o666); err != nil {
		t.Fatal(err)
	}
	kind := &doubler{}
	b.workTasks("worker", kind)
	results, _ := b.double(store, tasks)
	want := map[int]string{0: "0", 1: "kept", 2: "4", 3: "6"}
	if !maps.Equal(results, want) || kind.did.Load() != 3 {
		t.Errorf("results %v by %d tasks, want %v by 3", results, kind.did.Load(), want)
	}
}

// TestTaskNames checks that results are named by all that they depend on.
func TestTaskNames(t *testing.T) {
	names := map[string]bool{}
	for _, tasks := range []Tasks{
		tasksOf(2),
		{Kind: "other", Of: "numbers", List: tasksOf(1).List},
		{Kind: "double", Of: "other", List: tasksOf(1).List},
	} {
		for i := range tasks.List {
			names[tasks.result(i)] = true
			if !isResult(tasks.result(i)) {
				t.Errorf("%s is not the name of a result", tasks.result(i))
			}
		}
	}
	if len(names) != 4 {
		t.Errorf("%d names, want 4", len(names))
	}
	a, b := tasksOf(1), tasksOf(1)
	a.List[0], b.List[0] = json.RawMessage(`{"a": 1}`), json.RawMessage(`{"a":1}`)
	if a.result(0) != b.result(0) {
		t.Error("spaces in a task change the name of its result")
	}
}
