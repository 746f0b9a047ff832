/* How the page is looked at: on a wall (no chrome, dark) or on a desk; wide or narrow. */

class Look {
  wall = $state(new URLSearchParams(location.search).get('wall') === '1')
  narrow = $state(false)

  constructor() {
    const narrow = window.matchMedia('(max-width: 899px)')
    this.narrow = narrow.matches
    narrow.addEventListener('change', (event) => (this.narrow = event.matches))
  }

  toggleWall(): void {
    this.wall = !this.wall
    const address = new URL(location.href)
    if (this.wall) address.searchParams.set('wall', '1')
    else address.searchParams.delete('wall')
    history.replaceState(null, '', address)
  }
}

export const look = new Look()
