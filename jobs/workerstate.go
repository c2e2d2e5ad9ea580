package jobs

import (
	"context"
	"slices"
	"sync"
	"time"
)

// workerState is what a worker says of itself, as it changes.
type workerState struct {
	mu     sync.Mutex
	said   Worker
	rateOf string // job of its rate
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

// opened says that the model of a job could be opened.
func (s *workerState) opened(j *Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := j.Needs.Model; m != "" && !slices.Contains(s.said.Models, m) {
		s.said.Models = append(slices.Clip(s.said.Models), m) // copies have the list as it was
	}
}

// made counts images.
func (s *workerState) made(j *Job, images int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.Images += images
	if took > 0 {
		s.said.Rate, s.rateOf = float64(images)/took.Seconds(), j.ID
	}
}

const (
	// takenSeconds is about how long what a worker takes at a time should last it.
	takenSeconds = 20
	// maxTaken bounds the units of that.
	maxTaken = 16
)

// several returns how many units of a job the worker should take at a time: as many as last it
// takenSeconds at the speed that was measured with the job's last unit.
func (s *workerState) several(j *Job) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rateOf != j.ID {
		return 1
	}
	return int(min(max(takenSeconds*s.said.Rate/float64(j.Size), 1), maxTaken))
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
