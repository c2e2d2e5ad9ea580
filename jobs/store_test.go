package jobs

import (
	"path/filepath"
	"testing"
)

// checkHas checks that a store has a result, unless it is "", and has not another.
func checkHas(t *testing.T, s Store, there, missing string) {
	t.Helper()
	if there != "" {
		if has, err := s.Has(t.Context(), there); err != nil || !has {
			t.Errorf("result %s: %v, error %v: want that it is there", there, has, err)
		}
	}
	if has, err := s.Has(t.Context(), missing); err != nil || has {
		t.Errorf("result %s: %v, error %v: want that it is not there", missing, has, err)
	}
}

// TestHas asks stores for a result that was put there, was not, and was removed.
func TestHas(t *testing.T) {
	b := newBench(t, "")
	tasks := tasksOf(2)
	path := filepath.Join(t.TempDir(), tasks.result(0))
	if err := writeResult(path, []byte("result")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{t.TempDir(), BrokerStore} {
		s, err := b.queue.OpenStore(b.ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(b.ctx, path); err != nil {
			t.Fatal(err)
		}
		checkHas(t, s, tasks.result(0), tasks.result(1))
		if err := s.Remove(b.ctx, tasks.result(0)); err != nil {
			t.Fatal(err)
		}
		checkHas(t, s, "", tasks.result(0))
	}
}
