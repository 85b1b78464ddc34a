package spool

import "container/heap"

// queue is a FIFO of entries in a ring.
type queue struct {
	ring   []*entry
	head   int
	n      int
	copies int // transactions that the entries stand for
}

func (q *queue) len() int { return q.n }

func (q *queue) grow() {
	if q.n < len(q.ring) {
		return
	}
	ring := make([]*entry, max(64, 2*len(q.ring)))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

func (q *queue) push(e *entry) {
	q.grow()
	q.ring[(q.head+q.n)%len(q.ring)] = e
	q.n++
	q.copies += e.copies
}

func (q *queue) pushFront(e *entry) {
	q.grow()
	q.head = (q.head + len(q.ring) - 1) % len(q.ring)
	q.ring[q.head] = e
	q.n++
	q.copies += e.copies
}

func (q *queue) pop() *entry {
	if q.n == 0 {
		return nil
	}
	e := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	q.copies -= e.copies
	return e
}

func (q *queue) first() *entry {
	if q.n == 0 {
		return nil
	}
	return q.ring[q.head]
}

// remove takes e out wherever it stands.
func (q *queue) remove(e *entry) {
	for i := range q.n {
		at := (q.head + i) % len(q.ring)
		if q.ring[at] != e {
			continue
		}
		for j := i; j < q.n-1; j++ {
			q.ring[(q.head+j)%len(q.ring)] = q.ring[(q.head+j+1)%len(q.ring)]
		}
		q.ring[(q.head+q.n-1)%len(q.ring)] = nil
		q.n--
		q.copies -= e.copies
		return
	}
}

// delayHeap orders entries that pause for a moment by the end of the pause.
type delayHeap []*entry

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].notBef < h[j].notBef }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *delayHeap) Push(x any) { *h = append(*h, x.(*entry)) }

// Pop implements heap.Interface.
func (h *delayHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

func (h *delayHeap) remove(e *entry) {
	for i, x := range *h {
		if x == e {
			heap.Remove(h, i)
			return
		}
	}
}
