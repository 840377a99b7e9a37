"""x"""
import click
@click.command()
def attack() -> None:
    pass
