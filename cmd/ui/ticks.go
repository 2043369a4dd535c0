package ui

import "time"

// onTicks calls f at each tick. The function that it gives ends that, and returns when f is not running any more.
func onTicks(tick <-chan time.Time, stopTick, f func()) (stop func()) {
	end, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-tick:
				f()
			case <-end:
				return
			}
		}
	}()
	return func() {
		stopTick()
		close(end)
		<-gone
	}
}
