package jobs

import (
	"context"
	"sync"
	"time"
)

// workerState is what a worker says of itself, as it changes.
type workerState struct {
	mu   sync.Mutex
	said Worker
}

// at says which unit the worker is at; a nil job is none.
func (s *workerState) at(j *Job, unit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.Job, s.said.Unit = "", unit
	if j != nil {
		s.said.Job = j.ID
	}
}

// made counts images.
func (s *workerState) made(images int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.Images += images
	if took > 0 {
		s.said.Rate = float64(images) / took.Seconds()
	}
}

func (s *workerState) copy() *Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.said
	return &w
}

// announce says that the worker is there, until ctx is done.
func (w *Work) announce(ctx context.Context, s *workerState) {
	for {
		_ = w.Queue.Announce(ctx, s.copy()) // else it counts as gone until the broker is there
		if sleep(ctx, workerTTL/3) != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = w.Queue.Retire(ctx, s.copy())
}
